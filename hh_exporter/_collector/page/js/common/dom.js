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

/**
 * Make a drawing on a field of 16 by 16, in the colour of the text.
 *
 * @param {string} path  its lines, as SVG writes them
 * @param {string|null} label  what it says; null if the text beside it says so
 * @param {string} [className]
 */
export function makeIcon(path, label, className = "icon") {
  // The skeleton has one: its name space is the only address that drawing takes.
  const { namespaceURI } = document.querySelector("svg");
  const icon = document.createElementNS(namespaceURI, "svg");
  const attributes = label === null ? { "aria-hidden": "true" } : { role: "img", "aria-label": label };
  for (const [name, value] of Object.entries({
    class: className,
    viewBox: "0 0 16 16",
    ...attributes,
  }))
    icon.setAttribute(name, value);
  const line = document.createElementNS(namespaceURI, "path");
  line.setAttribute("d", path);
  icon.append(line);
  return icon;
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
