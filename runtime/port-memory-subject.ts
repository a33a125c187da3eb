/** Subject matching of the in-memory broker. Invariant: the same answers as the server's: `*` is one token, `>` one or more at the end. */

/** Whether a subject (no wildcards) falls under a filter. */
export type Matcher = (subject: string) => boolean;

/** Filters are few and asked for every message: each is taken apart once. */
export function matcherOf(filter: string): Matcher {
  if (!hasWildcard(filter)) return (subject) => subject === filter;
  const head = filter.slice(0, filter.search(/[*>]/)); // a wildcard is a token of its own, so this ends with a dot
  if (head.length === filter.length - 1) {
    // Most filters have one wildcard, at their end.
    const isLong = filter.endsWith(">");
    return (subject) =>
      subject.length > head.length && subject.startsWith(head) && (isLong || !subject.includes(".", head.length));
  }
  const wanted = filter.split(".");
  return (subject) => subject.startsWith(head) && tokensMatch(wanted, subject.split("."));
}

function tokensMatch(wanted: readonly string[], tokens: readonly string[]): boolean {
  for (const [i, token] of wanted.entries()) {
    if (token === ">" && i === wanted.length - 1) return tokens.length > i;
    if (i >= tokens.length || (token !== "*" && token !== tokens[i])) return false;
  }
  return tokens.length === wanted.length;
}

export function matcherOfAny(filters: readonly string[]): Matcher {
  const matchers = filters.map(matcherOf);
  return (subject) => matchers.some((matches) => matches(subject));
}

export const hasWildcard = (subject: string): boolean =>
  /[*>]/.test(subject) && subject.split(".").some((token) => token === "*" || token === ">");
