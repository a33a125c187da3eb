/** Which Node.js runs this program. Invariant: it imports nothing, and any Node.js since 14 can run it. */

/** As package.json's `engines` says: the first one that runs TypeScript sources and has all that is used. */
export const MINIMUM_NODE = "22.18.0";

/** Why `version` (like `20.11.1`) is too old, with the way out; null if it will do. */
export function nodeProblem(version: string): string | null {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = MINIMUM_NODE.split(".").map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return null;
  return `Node.js ${version} is too old, ${MINIMUM_NODE} or newer is needed: install one from https://nodejs.org`;
}
