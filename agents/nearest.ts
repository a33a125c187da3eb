/** Finds the name that was probably meant. Invariant: bounded work, however long the names and lists are. */

/** Longest name compared, in characters: a longer one is no typing error of a name. */
const MAX_COMPARED_LENGTH = 64;
/** Candidates compared at most; lists of names in this project are far shorter. */
const MAX_CANDIDATES = 500;
/** Share of a name's characters that may differ and still count as a typing error. */
const MAX_DIFFERENCE = 0.4;

/** The candidate closest to `name`, or undefined when none is close. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > MAX_COMPARED_LENGTH) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(name.length * MAX_DIFFERENCE)) + 1;
  let compared = 0;
  for (const candidate of candidates) {
    if (compared++ >= MAX_CANDIDATES) break;
    if (candidate.length > MAX_COMPARED_LENGTH) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** `Did you mean "x"?`, or the list of what is possible. */
export function suggest(name: string, candidates: readonly string[], what: string): string {
  const close = nearest(name, candidates);
  if (close !== undefined) return `Did you mean "${close}"?`;
  return candidates.length === 0 ? `There are no ${what}` : `Known ${what}: ${shortList(candidates)}`;
}

/** Names shown in a hint at most: a longer list is not read. */
const MAX_SHOWN = 12;

export const shortList = (names: readonly string[]): string =>
  names.length <= MAX_SHOWN
    ? names.join(", ")
    : `${names.slice(0, MAX_SHOWN).join(", ")} and ${names.length - MAX_SHOWN} more`;

/** Optimal string alignment: a swap of two neighbours counts as one slip, as it is for the typist. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const next = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) cost = Math.min(cost, (beforeLast[column - 2] ?? 0) + 1);
      next.push(cost);
    }
    [beforeLast, last] = [last, next];
  }
  return last[b.length] ?? 0;
}
