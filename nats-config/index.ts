/** The face of this folder for the others. */
export { type ApplyOptions, applyStreams, type StreamReport } from "./apply.ts";
export { cacheDirectory, findServerBinary, natsUrl, type ServerBinary } from "./binary.ts";
export { type OwnerRecord, readOwner, type SystemUser } from "./data-dir.ts";
export type { FieldDrift } from "./drift.ts";
export { type EmbeddedServer, type EmbeddedServerOptions, startEmbeddedServer } from "./embedded-server.ts";
export * from "./errors.ts";
export { findFreePort } from "./ports.ts";
export { streamSpecs, type StreamOptions, type StreamSpec } from "./streams.ts";
export { DEFAULT_NAMESPACE, DEFAULT_SHARDS, makeNames, type Names, type NamesOptions } from "./subjects.ts";
