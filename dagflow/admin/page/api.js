// Requests to the listener that this page came from. The token stands in a header, never in an address.

const KEY = "dagflow-token";
const TIMEOUT_MS = 10_000;

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Take the token out of `#token=...`, so that it does not stay in the history. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    keepToken(found);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const dropToken = () => sessionStorage.removeItem(KEY);

export const get = async (path, accept = "application/json") => ask(path, { headers: { Accept: accept } });
export const getJson = async (path) => (await get(path)).json();

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

async function ask(path, options) {
  const token = sessionStorage.getItem(KEY) ?? "";
  const headers = { ...options.headers, Authorization: `Bearer ${token}` };
  const answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error" });
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: { code: "unknown", message: answer.statusText } }));
  throw new Refused(answer.status, error.code, error.message);
}
