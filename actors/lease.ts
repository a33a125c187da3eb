/**
 * The lease that a lock shows to hosts: one KV entry a resource, JSON, read by any language with one read. Invariant: a token
 * drives the resource only while it stands in the entry and is not over; an older version never replaces a newer one.
 */
import type { ResourceContext } from "./resource-state.ts";

export interface Lease {
  readonly resource: string;
  /** Grows with each change. */
  readonly version: number;
  /** The last token issued: one above it is not known to the entry yet, or forged. */
  readonly token: number;
  readonly grants: readonly { readonly token: number; readonly holder: string; readonly expiresAtMs: number }[];
}

export const leaseOf = ({ resource, leaseVersion, token, holders }: ResourceContext): Lease => ({
  resource,
  version: leaseVersion,
  token,
  grants: holders.map((held) => ({ token: held.token, holder: held.holder, expiresAtMs: held.expiresAtMs })),
});

/** KV keys know no colon and none of these: `sunri-pi1:device2` is `sunri-pi1/device2`. */
export const leaseKey = (resource: string): string =>
  resource.replaceAll(/[=@+~]/g, (sign) => `=${sign.charCodeAt(0).toString(16)}`).replaceAll(":", "/");

export const encodeLease = (lease: Lease): Uint8Array => new TextEncoder().encode(JSON.stringify(lease));

/** Null: no lease, or none that can be read, which lets nobody act. */
export function decodeLease(data: Uint8Array): Lease | null {
  try {
    const lease = JSON.parse(new TextDecoder().decode(data)) as Partial<Lease> | null;
    const isLease =
      Number.isSafeInteger(lease?.version) && Number.isSafeInteger(lease?.token) && Array.isArray(lease?.grants);
    return isLease ? (lease as Lease) : null;
  } catch {
    return null;
  }
}

/** `ahead`: the entry may be behind the token's grant; whoever reads again soon finds out. */
export type LeaseVerdict = "good" | "ahead" | "over";

export function judgeToken(lease: Lease | null, token: number, nowMs: number): LeaseVerdict {
  if (lease === null || token > lease.token) return "ahead";
  const grant = lease.grants.find((each) => each.token === token);
  return grant !== undefined && nowMs < grant.expiresAtMs ? "good" : "over";
}
