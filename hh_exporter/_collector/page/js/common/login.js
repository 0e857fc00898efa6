/*
 * Asks for the collector's key, once for all requests that lack it.
 */

import { ApiError, logIn } from "./api.js";
import { make } from "./dom.js";

let asking = null;

/** Ask until there is a key that fits. */
export function askForKey() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

function ask() {
  const field = make("input", {
    type: "password",
    id: "key",
    autocomplete: "current-password",
    "aria-label": "Key",
    required: true,
  });
  // Password managers file a key under a name.
  const name = make("input", {
    type: "text",
    autocomplete: "username",
    value: "collector",
    hidden: true,
  });
  const button = make("button", { type: "submit" }, "Open");
  const problem = make("p", { class: "problem", role: "alert" });
  const form = make("form", {}, name, field, button);
  const explanation = make(
    "p",
    {},
    "This collector shows its events to those who have its key: the value of HH_COLLECTOR_API_KEY where it was started.",
  );
  const dialog = make(
    "dialog",
    { id: "login", "aria-labelledby": "login-title" },
    make("h2", { id: "login-title" }, "Key needed"),
    explanation,
    form,
    problem,
  );
  document.body.append(dialog);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      button.textContent = "Checking…"; // a wrong key takes a while
      field.readOnly = true;
      problem.textContent = "";
      try {
        await logIn(field.value);
        dialog.remove();
        resolve();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        problem.textContent = error.status === 401 ? "That is not its key." : error.message;
        button.disabled = false;
        button.textContent = "Open";
        field.readOnly = false;
        field.select();
      }
    });
  });
}
