/*
 * Images, sounds and files in messages, as each API names them.
 *
 * An address is kept as text; bytes are kept only of images that a browser shows without running
 * anything. Nothing here touches the document.
 */

import { isObject, textOf } from "./values.js";

/**
 * @typedef {{kind: "media", type: string, name: string, format: string, address: string,
 *   size: number|null, data: string|null, transcript: string}} Media
 *
 * `type` is image, audio, video, file or document; `address` is where it lies elsewhere, `size`
 * its bytes if they are here, and `data` their `data:` address if it is an image to be shown.
 */

const SHOWN = /^image\/(?:png|jpeg|gif|webp)$/;
const NOT_BASE64 = /[^A-Za-z0-9+/_-]/;
const DATA = /^data:[a-z]+\/[^,]{1,100};base64,/i;
const SHORTEST = 256; // characters of base64; what is shorter is read as text
const MAGIC = [
  ["iVBORw0KGgo", "image/png"],
  ["/9j/", "image/jpeg"],
  ["R0lGOD", "image/gif"],
  ["JVBERi", "application/pdf"],
  ["SUQz", "audio/mpeg"],
  ["T2dnU", "audio/ogg"],
];
const LONGEST_SHOWN = 30_000_000;
const TYPES = ["image", "audio", "video", "document", "file"];

/** Members that hold more of the same, and members that are a text of it. */
const HOLDERS = [
  ...["image_url", "input_audio", "audio_url", "video_url", "source", "file", "s3Location"],
  ...["inlineData", "inline_data", "fileData", "file_data", ...TYPES],
];
const ADDRESSES = [
  ...["url", "uri", "file_uri", "fileUri", "file_url", "image_url", "audio_url", "video_url"],
  ...["image", "file_id", "fileId"],
];
const BYTES = ["data", "bytes", "content", "b64_json", "base64", "file_data", "result"];
const FORMATS = ["media_type", "mediaType", "mime_type", "mimeType", "format", "output_format"];
const NAMES = ["filename", "file_name", "displayName", "display_name", "name", "title"];

/** Read an address: a `data:` one, which holds the bytes, or one that lies elsewhere. */
export function readAddress(type, text) {
  if (!/^data:/i.test(text)) return makeMedia({ type, address: text });
  const comma = text.slice(0, 300).indexOf(",");
  const [format, ...parameters] = text.slice("data:".length, comma < 0 ? 100 : comma).split(";");
  const isBase64 = comma >= 0 && /^\s*base64\s*$/i.test(parameters.at(-1) ?? "");
  return isBase64
    ? readBytes(type, format, text.slice(comma + 1))
    : makeMedia({ type, format, size: text.length - Math.max(comma + 1, "data:".length) });
}

/** Read base64 of a format such as `image/png`, `png` or `wav`. */
export function readBytes(type, format, base64) {
  const text = /\s/.test(base64) ? base64.replace(/\s+/g, "") : base64;
  const body = unpadded(text);
  const size = Math.floor((body.length * 3) / 4);
  const known = (type === "image" ? readFormat(format) : format.trim().toLowerCase()) || format;
  const said = typeOfFormat(known);
  const media = makeMedia({ type: said === "file" ? type : said, size });
  const isShown = SHOWN.test(known) && text.length <= LONGEST_SHOWN && isBase64(body);
  const plain = isShown ? body.replaceAll("-", "+").replaceAll("_", "/") : "";
  return { ...media, format: known, data: isShown ? `data:${known};base64,${plain}` : null };
}

/** Read a text that is base64 or a `data:` address of bytes; null if it is neither, or short. */
export function readBase64(text) {
  if (text.length < SHORTEST) return null;
  if (DATA.test(text)) return readAddress(typeOfFormat(text.slice("data:".length)), text);
  if (!looksRandom(text.slice(0, SHORTEST)) || !isBase64(unpadded(text))) return null;
  const [, format] = MAGIC.find(([start]) => text.startsWith(start)) ?? ["", "base64"];
  return readBytes(typeOfFormat(format), format, text);
}

/** Long words and hexadecimal digests have no letters of both cases beside digits. */
const looksRandom = (text) => /[a-z]/.test(text) && /[A-Z]/.test(text) && /[0-9]/.test(text);

const typeOfFormat = (format) => TYPES.find((name) => format.startsWith(`${name}/`)) ?? "file";

const unpadded = (text) => text.replace(/={1,2}$/, "");

/** Browsers complain of an image in base64 that is not whole. */
const isBase64 = (body) => body.length > 0 && body.length % 4 !== 1 && !NOT_BASE64.test(body);

function readFormat(format) {
  const name = format.trim().toLowerCase();
  const whole = name && !name.includes("/") ? `image/${name}` : name;
  return whole === "image/jpg" ? "image/jpeg" : whole;
}

/** Read a part of a message; null if it is none of these. */
export function readMedia(part) {
  const type = typeOf(part);
  if (type === "") return null;
  const parts = [part];
  for (const one of parts) {
    for (const name of HOLDERS) if (isObject(one[name]) && parts.length < 9) parts.push(one[name]);
  }
  const pick = (names) => parts.map((one) => textOf(one, names)).find(Boolean) ?? "";
  const address = pick(ADDRESSES);
  const bytes = pick(BYTES);
  const format = pick(FORMATS);
  const read =
    bytes && !/^data:/i.test(bytes)
      ? readBytes(type, format, bytes)
      : readAddress(type, bytes || address);
  const transcript = pick(["transcript"]);
  return { ...read, format: read.format || format, name: pick(NAMES), transcript };
}

function typeOf(part) {
  const said = typeof part.type === "string" ? part.type : "";
  const modality = typeof part.modality === "string" ? part.modality : "";
  if (said === "blob" || said === "uri" || (said === "file" && modality)) return modality || "file";
  const named = TYPES.find((name) => said.includes(name));
  if (named) return named;
  const inline = part.inlineData ?? part.inline_data ?? part.fileData ?? part.file_data;
  if (isObject(inline)) {
    return typeOfFormat(textOf(inline, FORMATS));
  }
  // Bedrock Converse names the type by the member.
  return said ? "" : (TYPES.find((name) => isObject(part[name]) && part[name].source) ?? "");
}

function makeMedia(known) {
  const media = { kind: "media", name: "", format: "", address: "", size: null };
  return { ...media, data: null, transcript: "", ...known };
}
