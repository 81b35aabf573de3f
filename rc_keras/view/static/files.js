// Files beside the page.

/** The bytes of a file; null where it is missing and may be. */
export async function fetchBytes(url, { optional = false } = {}) {
  let answer;
  try {
    answer = await fetch(url);
  } catch {
    throw Error(`${url} cannot be fetched: does the server still run?`);
  }
  if (answer.status === 404 && optional) return null;
  if (!answer.ok) throw Error(`${url} cannot be fetched: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** Bytes for people. */
export const megabytes = n => n < 1e5 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(n < 1e7 ? 2 : 1)} MB`;
