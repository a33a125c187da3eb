/**
 * Every error of this layer: one class per decision that a caller can take. Invariant: `code` is stable; `retryable` says
 * whether the same call may succeed later with nothing changed by a person. Each message names the way out.
 */

/** The oldest nats-server whose features the streams use (message schedules, batches, delete markers). */
export const MINIMUM_SERVER_VERSION = "2.14.0";

const THREE_WAYS = [
  `put nats-server ${MINIMUM_SERVER_VERSION} or newer on PATH, or name the binary in TROUPE_NATS_SERVER`,
  "install Debian's signed package: on Debian this happens by itself, with apt and without root (suite forky)",
  "use a server that runs already: NATS_URL=nats://host:4222",
].map((way, index) => `  ${index + 1}. ${way}`);

function withThreeWays(problem: string): string {
  return `${problem}. Three ways out:\n${THREE_WAYS.join("\n")}`;
}

export abstract class NatsConfigError extends Error {
  abstract readonly code: string;
  abstract readonly retryable: boolean;
}

/** No usable nats-server was found and none could be fetched. */
export class ServerNotFoundError extends NatsConfigError {
  override readonly name = "ServerNotFoundError";
  readonly code = "NATS_SERVER_NOT_FOUND";
  readonly retryable = false;
  constructor(problem: string, options?: ErrorOptions) {
    super(withThreeWays(problem), options);
  }
}

/** The nats-server that was named, or the only one there is, lacks features that the streams need. */
export class ServerTooOldError extends NatsConfigError {
  override readonly name = "ServerTooOldError";
  readonly code = "NATS_SERVER_TOO_OLD";
  readonly retryable = false;
  readonly path: string;
  readonly version: string;
  constructor(path: string, version: string, options?: ErrorOptions) {
    super(
      withThreeWays(
        `The nats-server "${path}" has version ${version}, but ${MINIMUM_SERVER_VERSION} or newer is needed`,
      ),
      options,
    );
    this.path = path;
    this.version = version;
  }
}

/** apt could not deliver the package: often the network, so a later try may succeed. */
export class PackageFetchError extends NatsConfigError {
  override readonly name = "PackageFetchError";
  readonly code = "NATS_SERVER_FETCH_FAILED";
  readonly retryable = true;
  constructor(problem: string, options?: ErrorOptions) {
    super(withThreeWays(`Fetching nats-server with apt failed: ${problem}`), options);
  }
}

/** A value that cannot stand in a server's configuration. */
export class ConfigValueError extends NatsConfigError {
  override readonly name = "ConfigValueError";
  readonly code = "BAD_SERVER_CONFIG";
  readonly retryable = false;
}

/** The data directory cannot be created or written. */
export class DataDirError extends NatsConfigError {
  override readonly name = "DataDirError";
  readonly code = "DATA_DIR_UNUSABLE";
  readonly retryable = false;
  constructor(directory: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(
      `The data directory "${directory}" cannot be used (${reason}): make it writable, or name another one with --data (in code: dataDir)`,
      {
        cause,
      },
    );
  }
}

/** A live process owns the data directory. Two servers on one store destroy it. */
export class DataDirInUseError extends NatsConfigError {
  override readonly name = "DataDirInUseError";
  readonly code = "DATA_DIR_IN_USE";
  readonly retryable = true;
  constructor(directory: string, pid: number, url: string | undefined) {
    const join = url === undefined ? "" : `, use its server with NATS_URL=${url}`;
    super(
      `The data directory "${directory}" belongs to the running process ${pid}: stop that one${join}, or name another directory`,
    );
  }
}

/** Somebody else listens on the port. */
export class PortTakenError extends NatsConfigError {
  override readonly name = "PortTakenError";
  readonly code = "PORT_TAKEN";
  readonly retryable = true;
  constructor(port: number, options?: ErrorOptions) {
    super(
      `Port ${port} on 127.0.0.1 is taken: stop the program that listens there, name another port, or 0 for a free one`,
      options,
    );
  }
}

/** nats-server ended, or stayed silent, before it was ready. The message carries its last log lines. */
export class ServerStartError extends NatsConfigError {
  override readonly name = "ServerStartError";
  readonly code = "NATS_SERVER_START_FAILED";
  readonly retryable = true;
  constructor(problem: string, lastLines: readonly string[], options?: ErrorOptions) {
    const log =
      lastLines.length === 0
        ? "it logged nothing"
        : `its last lines:\n${lastLines.map((line) => `  ${line}`).join("\n")}`;
    super(
      `nats-server did not start (${problem}): fix the cause, or set NATS_URL to a server that runs; ${log}`,
      options,
    );
  }
}

/** The server keeps dying soon after each start, and is left down. */
export class ServerCrashLoopError extends NatsConfigError {
  override readonly name = "ServerCrashLoopError";
  readonly code = "NATS_SERVER_CRASH_LOOP";
  readonly retryable = false;
  constructor(attempts: number, options?: ErrorOptions) {
    super(
      `nats-server died ${attempts} times in a row right after its start and stays down: read its log, then start again`,
      options,
    );
  }
}

/** The server refuses a stream as specified: a replica count it cannot give, subjects of another stream, no space. */
export class StreamRefusedError extends NatsConfigError {
  override readonly name = "StreamRefusedError";
  readonly code = "STREAM_REFUSED";
  readonly retryable = false;
  constructor(stream: string, reason: string, options?: ErrorOptions) {
    super(
      `The server refuses the stream "${stream}" (${reason}): correct its entry, or the server's limits, and apply again`,
      options,
    );
  }
}

/** Another cluster's stream on this server takes subjects that one of ours needs. Found before anything is created. */
export class SubjectTakenError extends NatsConfigError {
  override readonly name = "SubjectTakenError";
  readonly code = "SUBJECT_TAKEN";
  readonly retryable = false;
  constructor(subject: string, stream: string, owner: string, options?: ErrorOptions) {
    super(
      `Nothing was created: the subject "${subject}" of the stream "${stream}" is taken by the stream "${owner}" of another cluster on this server: give this one its own with --namespace and --device-root (in code: namespace, deviceRoot), or use another server`,
      options,
    );
  }
}

/** JetStream gave no answer until the deadline: no leader yet, or JetStream is off. */
export class ApplyTimeoutError extends NatsConfigError {
  override readonly name = "ApplyTimeoutError";
  readonly code = "STREAM_APPLY_TIMEOUT";
  readonly retryable = true;
  constructor(stream: string, afterMs: number, options?: ErrorOptions) {
    super(
      `JetStream did not answer for the stream "${stream}" within ${afterMs} ms: see that the server runs with JetStream and has a leader, and apply again`,
      options,
    );
  }
}
