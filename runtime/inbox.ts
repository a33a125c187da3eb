/**
 * Where an answer may go. Invariant: an inbox is none of our subjects, a device's or the server's: who writes a reply address
 * borrows the node's rights with it.
 */

/** Longest address, in characters: an inbox prefix of a user's own, and what gateways between sites put before it. */
const MAX_LENGTH = 256;
/** `_INBOX.…`, a prefix of a user's own such as `_INBOX_lab.…`, and the `_R_.…` of imports and `_GR_.…` of gateways. */
const INBOX = /^_[A-Z][\w-]*(\.[\w$-]+)+$/;

export const isInbox = (subject: string): boolean => subject.length <= MAX_LENGTH && INBOX.test(subject);
