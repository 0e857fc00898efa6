/*
 * Asks values that may be of any type what they are.
 *
 * Nothing here touches the document.
 */

export const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const object = (value) => (isObject(value) ? value : {});

export const list = (value) => (Array.isArray(value) ? value : []);

/** The first value that is there. */
export function first(...values) {
  return values.find((value) => value !== undefined && value !== null);
}

/** The first of these members that is a text, and not an empty one. */
export function textOf(value, names) {
  for (const name of names) if (typeof value[name] === "string" && value[name]) return value[name];
  return "";
}

export function without(value, keys) {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));
}

export function isEmpty(value) {
  if (value === undefined || value === null || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

export function asText(value) {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

/** What a text of JSON says, or what is given. */
export function parsed(value) {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
