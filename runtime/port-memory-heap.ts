/** Things with a due time, for the in-memory broker and the simulated clock. Invariant: taken in order of time, then of entry. */

interface Slot<T> {
  readonly atMs: number;
  readonly order: number;
  readonly item: T;
}

export class TimeHeap<T> {
  readonly #slots: Slot<T>[] = [];
  #order = 0;

  /** The first item, not taken. */
  get first(): { readonly atMs: number; readonly item: T } | undefined {
    return this.#slots[0];
  }

  add(atMs: number, item: T): void {
    this.#order += 1;
    this.#slots.push({ atMs, order: this.#order, item });
    let at = this.#slots.length - 1;
    while (at > 0 && this.#swapIfBefore(at, (at - 1) >> 1)) at = (at - 1) >> 1;
  }

  /** Takes the first item if it is due at `nowMs`. */
  take(nowMs: number): T | undefined {
    const head = this.#slots[0];
    if (head === undefined || head.atMs > nowMs) return undefined;
    const last = this.#slots.pop();
    if (last === undefined || this.#slots.length === 0) return head.item;
    this.#slots[0] = last;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const child = this.#isBefore(left + 1, left) ? left + 1 : left;
      if (!this.#swapIfBefore(child, at)) return head.item;
      at = child;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const x = this.#slots[a];
    const y = this.#slots[b];
    if (x === undefined || y === undefined) return false;
    return x.atMs < y.atMs || (x.atMs === y.atMs && x.order < y.order);
  }

  #swapIfBefore(a: number, b: number): boolean {
    const x = this.#slots[a];
    const y = this.#slots[b];
    if (x === undefined || y === undefined || !this.#isBefore(a, b)) return false;
    this.#slots[a] = y;
    this.#slots[b] = x;
    return true;
  }
}
