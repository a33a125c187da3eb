/** Who is found silent. Invariant: only renewals that the observer saw of itself count against others. */
import { expect, test } from "vitest";
import { LEASE_MISSED_RENEWALS, LEASE_RENEW_MS, LEASE_SELF_FENCE_MS } from "../../runtime/limits.ts";
import { Silence } from "../../runtime/silence.ts";

const hearOwn = (silence: Silence, times: number): string[][] =>
  Array.from({ length: times }, () => silence.hear("me"));

test("hear() names a member once our own renewals came by so often without one of its, and again until it is forgotten", () => {
  const silence = new Silence("me");
  silence.hear("a");
  const before = hearOwn(silence, LEASE_MISSED_RENEWALS - 1);
  expect(before.flat()).toEqual([]);
  expect(hearOwn(silence, 2)).toEqual([["a"], ["a"]]);
  silence.forget("a");
  expect(silence.hear("me")).toEqual([]);
});

test("hear() accuses nobody who renews, whatever others do", () => {
  const silence = new Silence("me");
  silence.hear("quiet");
  for (let i = 0; i < 2 * LEASE_MISSED_RENEWALS; i++) {
    silence.hear("loud");
    expect(silence.hear("me")).not.toContain("loud");
  }
  expect(silence.hear("me")).toEqual(["quiet"]);
});

test("hear() accuses nobody while our own renewals stay away: an observer that was stalled or cut off", () => {
  const silence = new Silence("me");
  silence.hear("a");
  hearOwn(silence, LEASE_MISSED_RENEWALS - 1);
  silence.hear("a");
  expect(hearOwn(silence, LEASE_MISSED_RENEWALS - 1).flat()).toEqual([]);
});

test("LEASE_SELF_FENCE_MS ends before the earliest silence", () => {
  // The first of our renewals may follow the member's last at once.
  expect(LEASE_SELF_FENCE_MS).toBeLessThan((LEASE_MISSED_RENEWALS - 1) * LEASE_RENEW_MS);
});
