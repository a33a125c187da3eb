/** Semantic versions 2.0.0. Invariant: {@link compareVersions} is the total order of the standard's §11. */

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly prerelease: readonly string[];
}

/** Longest version text: it stands in a key. */
const MAX_VERSION_LENGTH = 64;
const NUMBER = "(0|[1-9]\\d{0,8})";
const IDENTIFIER = "(?:0|[1-9]\\d*|\\d*[A-Za-z-][0-9A-Za-z-]*)";
const VERSION = new RegExp(`^${NUMBER}\\.${NUMBER}\\.${NUMBER}(?:-(${IDENTIFIER}(?:\\.${IDENTIFIER})*))?$`);
const COMPARATOR = /^(?:\^|~|>=|<=|>|<|=)?\s*(.+)$/;

/** Parses a version, or null. Build metadata (`+…`) is refused: two versions of one rank would share a place. */
export function parseVersion(text: string): Version | null {
  const match = text.length > MAX_VERSION_LENGTH ? null : VERSION.exec(text);
  if (match === null) return null;
  return {
    major: Number(match[1]),
    minor: Number(match[2]),
    patch: Number(match[3]),
    prerelease: match[4] === undefined ? [] : match[4].split("."),
  };
}

/** True for `2.1.0`, `>=1.0.0`, `^1.2.0`, `>=1.0.0 <2.0.0`, `*`. */
export function isVersionRange(text: string): boolean {
  if (text === "*") return true;
  if (text.length > 2 * MAX_VERSION_LENGTH) return false;
  const parts = text.trim().split(/(?<![\^~<>=])\s+/);
  return parts.every((part) => {
    const version = COMPARATOR.exec(part)?.[1];
    return version !== undefined && parseVersion(version) !== null;
  });
}

/** Negative when `a` comes before `b`. */
export function compareVersions(a: Version, b: Version): number {
  const core = a.major - b.major || a.minor - b.minor || a.patch - b.patch;
  if (core !== 0) return core;
  // A release comes after all of its previews.
  if (a.prerelease.length === 0 || b.prerelease.length === 0) return b.prerelease.length - a.prerelease.length;
  for (let i = 0; i < Math.max(a.prerelease.length, b.prerelease.length); i++) {
    const order = compareIdentifiers(a.prerelease[i], b.prerelease[i]);
    if (order !== 0) return order;
  }
  return 0;
}

function compareIdentifiers(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return (a === undefined ? 0 : 1) - (b === undefined ? 0 : 1);
  const [aNumeric, bNumeric] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  // Numbers come before words, and go by length first: they may be longer than a number holds exactly.
  if (aNumeric !== bNumeric) return aNumeric ? -1 : 1;
  if (aNumeric && a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
