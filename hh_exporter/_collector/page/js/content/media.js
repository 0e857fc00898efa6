/*
 * Images, sounds and files of messages.
 *
 * Nothing is loaded for them: an image is shown if its bytes are in the event, and whatever else
 * there is gets its name, format, size and address.
 */

import { make, makeButton } from "../common/dom.js";
import { bytes } from "../common/format.js";

const LONGEST_ADDRESS = 200;

/** Show media; `isChip` names even an image that could be shown. */
export function makeMedia(media, { isChip = false } = {}) {
  return media.data === null || isChip ? makeChip(media) : makeThumbnail(media);
}

function makeChip({ type, name, format, address, size }, why = "") {
  const told = [name, format, size === null ? "" : bytes(size), shortened(address), why];
  const known = told.filter(Boolean).join(", ");
  const title = address || "Named only: nothing is loaded";
  return make("span", { class: "media", dir: "auto", title }, known ? `${type}: ${known}` : type);
}

const shortened = (text) =>
  text.length > LONGEST_ADDRESS ? `${text.slice(0, LONGEST_ADDRESS)}…` : text;

/** A small picture that a click enlarges; a chip, if the bytes are none. */
function makeThumbnail(media) {
  const label = [media.name || "Image", media.format.slice("image/".length).toUpperCase()];
  const caption = `${label.join(", ")}, ${bytes(media.size)}`;
  const image = make("img", { src: media.data, alt: caption, loading: "lazy", decoding: "async" });
  const button = make("button", {
    type: "button",
    class: "thumbnail",
    title: `${caption}: enlarge`,
    on: { click: () => showLarge(media.data, caption) },
  });
  button.append(image);
  image.addEventListener("error", () => button.replaceWith(makeChip(media, "not readable")));
  return button;
}

function showLarge(data, caption) {
  const close = makeButton("Close", () => dialog.close());
  const dialog = make(
    "dialog",
    { class: "picture", "aria-label": caption },
    make("img", { src: data, alt: caption }),
    make("div", { class: "dialog-end" }, make("span", { dir: "auto" }, caption), close),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
