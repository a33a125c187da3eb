/** Subject matching of the in-memory broker. Invariant: the same answers as the server's: `*` is one token, `>` one or more at the end. */

/** Whether `subject` (no wildcards) falls under `filter`. */
export function subjectMatches(filter: string, subject: string): boolean {
  if (filter === subject) return true;
  if (!hasWildcard(filter)) return false;
  const wanted = filter.split(".");
  const tokens = subject.split(".");
  for (const [i, token] of wanted.entries()) {
    if (token === ">" && i === wanted.length - 1) return tokens.length > i;
    if (i >= tokens.length || (token !== "*" && token !== tokens[i])) return false;
  }
  return tokens.length === wanted.length;
}

export const matchesAny = (filters: readonly string[], subject: string): boolean =>
  filters.some((filter) => subjectMatches(filter, subject));

export const hasWildcard = (subject: string): boolean =>
  subject.split(".").some((token) => token === "*" || token === ">");
