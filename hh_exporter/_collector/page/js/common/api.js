/*
 * The collector's HTTP API.
 *
 * Whoever asks gets data or an exception with a text for people; a missing key is asked for first.
 */

export class ApiError extends Error {
  constructor(status, message, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const FAULT = "injected_fault"; // as the collector calls those that it was asked for

let askForKey = async () => {};

/** Name who asks for a key when the collector wants one; it returns once there is one. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The address of a route with its parameters; those that are null or empty are left out. */
export function route(path, parameters = {}) {
  const given = Object.entries(parameters).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Read a route's answer as data. */
export async function readJson(path, parameters = {}, options = {}) {
  return JSON.parse(await request(route(path, parameters), options));
}

/** Read a route's answer as its text. */
export async function readText(path, options = {}) {
  return request(path, options);
}

/** Send data with PUT, and read the answer. */
export async function putJson(path, data, options = {}) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(data);
  return JSON.parse(await request(path, { method: "PUT", body, headers, ...options }));
}

/** Exchange the key for a cookie; raises ApiError where it is wrong. */
export async function logIn(key) {
  const body = JSON.stringify({ key });
  const response = await send("/api/login", {
    method: "POST",
    body,
    headers: { "Content-Type": "application/json" },
  });
  if (!response.ok) throw await problem(response);
}

async function request(address, options) {
  for (;;) {
    const response = await send(address, options);
    if (response.ok) return await whole(response);
    const failure = await problem(response);
    if (failure.status !== 401 || failure.code === FAULT) throw failure;
    await askForKey();
  }
}

async function send(address, options) {
  try {
    return await fetch(address, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    throw broken(error);
  }
}

/** Read the text of an answer, which may break off after its head. */
async function whole(response) {
  try {
    return await response.text();
  } catch (error) {
    throw broken(error);
  }
}

function broken(error) {
  return error.name === "AbortError" ? error : new ApiError(0, "the collector does not answer");
}

async function problem(response) {
  const answer = await response.json().catch(() => null);
  return new ApiError(
    response.status,
    String(answer?.message ?? `the collector answers ${response.status}`),
    String(answer?.errorCode ?? ""),
  );
}
