// The HTTP interface, as this page uses it: the key, problems as errors, files as blobs.

import { recall, remember } from "./memory.js";

const BASE = "/api/v1";

/** A refusal of the service, or `unreachable` where none answered. */
export class ApiError extends Error {
  constructor(type, { status = 0, detail = "", retryAfter = null } = {}) {
    super(detail || type);
    this.type = type;
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter; // seconds
  }
}

let key = recall("key", "sessionStorage") ?? recall("key");
let asking = null; // one question for all requests that were refused
let declined = 0; // times that the visitor gave no key
let ask = () => Promise.resolve(null);

/** Says who asks the visitor for the key: a function that gives {key, keep}, or null. */
export function askForKeyWith(question) {
  ask = question;
}

/** A new key, from the visitor. False where there is none. */
async function wantKey(refused, declinedBefore) {
  if (key !== refused) return true; // another request has asked meanwhile
  if (declined > declinedBefore) return false; // likewise, in vain
  asking ??= ask(refused !== null).finally(() => (asking = null));
  const given = await asking;
  if (given === null) {
    declined += 1;
    return false;
  }
  key = given.key;
  remember("key", key, "sessionStorage");
  remember("key", given.keep ? key : null);
  return true;
}

export function forgetKey() {
  key = null;
  remember("key", null, "sessionStorage");
  remember("key", null);
}

export const hasKey = () => key !== null;

/** Query string of an object: lists repeat, what is empty is left out. */
export function query(values) {
  const pairs = Object.entries(values ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((one) => one !== null && one !== undefined && one !== "")
      .map((one) => [name, String(one)]),
  );
  const text = new URLSearchParams(pairs).toString();
  return text && `?${text}`;
}

/**
 * A request's response, once it is one of success.
 * Throws ApiError; an AbortError where `signal` said so.
 */
async function respond(method, path, { params, json, form, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  const declinedBefore = declined;
  for (;;) {
    const used = key;
    if (used !== null) sent.Authorization = `Bearer ${used}`;
    let response;
    try {
      response = await fetch(BASE + path + query(params), {
        method,
        headers: sent,
        body: json === undefined ? form : JSON.stringify(json),
        signal,
        cache: "no-store", // voices do not stay in the browser's cache
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("unreachable");
    }
    if (response.ok) return response;
    const error = await problemOf(response);
    if (error.type !== "unauthorised" || !(await wantKey(used, declinedBefore))) throw error;
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  const wait = Number(response.headers.get("Retry-After"));
  return new ApiError(told.type ?? "unknown", {
    status: response.status,
    detail: told.detail,
    retryAfter: wait > 0 ? wait : null,
  });
}

async function answer(...request) {
  const response = await respond(...request);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable"); // it broke off, or something in between has answered
  }
}

export const get = (path, params, options) => answer("GET", path, { params, ...options });
export const post = (path, json, options) => answer("POST", path, { json, ...options });
export const patch = (path, json) => answer("PATCH", path, { json });
export const remove = (path, params) => answer("DELETE", path, { params });
export const send = (path, form, options) => answer("POST", path, { form, ...options });

/** A file of the service. */
export async function blob(path, params, options) {
  const response = await respond("GET", path, { params, ...options });
  return response.blob().catch((error) => {
    throw error.name === "AbortError" ? error : new ApiError("unreachable");
  });
}

/** Saves a blob as a file of the visitor's. */
export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const saveFrom = async (path, name) => save(await blob(path), name);
