/** Semantic versions 2.0.0 and ranges of them. Invariant: {@link compareVersions} is the total order of the standard's §11. */

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
const COMPARATOR = /^(\^|~|>=|<=|>|<|=)?\s*(.+)$/;

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

interface Comparator {
  readonly operator: string;
  readonly version: Version;
}

/** The parts of a range, all of which must hold; null: not a range. `*` has none. */
function parseRange(text: string): Comparator[] | null {
  if (text === "*") return [];
  if (text.length > 2 * MAX_VERSION_LENGTH) return null;
  const parts: Comparator[] = [];
  for (const part of text.trim().split(/(?<![\^~<>=])\s+/)) {
    const [, operator = "=", rest = ""] = COMPARATOR.exec(part) ?? [];
    const version = parseVersion(rest);
    if (version === null) return null;
    parts.push({ operator, version });
  }
  return parts;
}

/** True for `2.1.0`, `>=1.0.0`, `^1.2.0`, `>=1.0.0 <2.0.0`, `*`. */
export const isVersionRange = (text: string): boolean => parseRange(text) !== null;

/**
 * Whether a version lies in a range. A preview does only if the range names a preview of the same release: `^1.2.0` does not
 * ask for `2.0.0-rc.1`. What cannot be read fits nothing.
 */
export function fitsRange(version: string, range: string): boolean {
  const [own, parts] = [parseVersion(version), parseRange(range)];
  if (own === null || parts === null) return false;
  const isNamed = ({ version: { major, minor, patch, prerelease } }: Comparator) =>
    prerelease.length > 0 && major === own.major && minor === own.minor && patch === own.patch;
  return (own.prerelease.length === 0 || parts.some(isNamed)) && parts.every((part) => holds(own, part));
}

function holds(own: Version, { operator, version }: Comparator): boolean {
  const order = compareVersions(own, version);
  switch (operator) {
    case "^":
    case "~":
      return order >= 0 && compareVersions(own, nextBreak(version, operator)) < 0;
    case ">=":
      return order >= 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case "<":
      return order < 0;
    default:
      return order === 0;
  }
}

/** The first version that `^` or `~` shuts out: below 1.0.0 the first number that is not 0 is the one that breaks. */
function nextBreak({ major, minor, patch }: Version, operator: "^" | "~"): Version {
  const from = (ma: number, mi: number, pa: number) => ({ major: ma, minor: mi, patch: pa, prerelease: ["0"] });
  if (operator === "~" || (major === 0 && minor > 0)) return from(major, minor + 1, 0);
  return major > 0 ? from(major + 1, 0, 0) : from(0, 0, patch + 1);
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
