/*
 * Makes elements.
 *
 * All that is shown goes through here as text: nothing on this page ever parses markup.
 */

/**
 * Make an element with its attributes, properties and children.
 *
 * `on` holds listeners; a null child or attribute is left out; a string child is text.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node|string|number|null|undefined)} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [type, listener] of Object.entries(value))
        element.addEventListener(type, listener);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make a button that does not submit anything. */
export function makeButton(label, onClick, attributes = {}) {
  return make("button", { type: "button", ...attributes, on: { click: onClick } }, label);
}

/** @returns {any} the element of the skeleton that has this id */
export function byId(id) {
  return document.getElementById(id);
}

/** Call `work` once in the next frame, however often it is asked for. */
export function oncePerFrame(work) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      work();
    });
  };
}

/** Call `work` once, `delay` milliseconds after it was last asked for. */
export function onceQuiet(delay, work) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, delay);
  };
}
