/** Names and calls of the bare echo, for its worker and its client. */
import { makeNames } from "../../nats-config/subjects.ts";
import { decodeAnswer, encodeInput, Tag } from "../../runtime/envelope.ts";
import type { Broker } from "../../runtime/port.ts";
import { ADD } from "./kinds.ts";

export const ECHO = makeNames({ namespace: "echo" });
export const ECHO_SHARD = 0;
const TIMEOUT_MS = 10_000;

/** As large as what an actor's client sends, and encoded once: the floor pays for no client either. */
const BODY = encodeInput({
  tag: Tag.Ask,
  sender: "client-0123456789abcdef",
  seq: 100_000,
  low: 100_000,
  ttlMs: TIMEOUT_MS,
  lane: 2,
  event: ADD,
});

export const askEcho = async (broker: Broker, id: string): Promise<unknown> =>
  decodeAnswer(await broker.request(ECHO.act(ECHO_SHARD, "counter", id), BODY, TIMEOUT_MS));
