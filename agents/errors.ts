/**
 * Every error of the agents layer: one class per decision that a caller can take, with the runtime's conventions.
 * Invariant: what throws one of these changed nothing.
 */
import { TroupeError } from "../runtime/errors.ts";
import { plainError } from "../runtime/thrown.ts";

/** One thing that is wrong in a definition, where it stands, and how to put it right. */
export interface Problem {
  /** Like `playbook[0].steps[1].skill`; `$` is the whole document. */
  readonly path: string;
  /** 1 for the first. */
  readonly line: number;
  /** 1 for the first; counts UTF-16 units. */
  readonly column: number;
  readonly message: string;
  readonly hint: string;
}

/** The text is not a valid agent definition. {@link problems} holds every error, in the order of the text. */
export class DefinitionInvalidError extends TroupeError {
  override readonly name = "DefinitionInvalidError";
  readonly code = "DEFINITION_INVALID";
  readonly retryable = false;
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    const count = problems.length === 1 ? "a problem" : `${problems.length} problems`;
    super(`The agent definition has ${count}:\n${problems.map(lineOf).join("\n")}`);
    this.problems = problems;
  }
}

const lineOf = (problem: Problem): string =>
  `  ${problem.line}:${problem.column} ${problem.path}: ${problem.message}. ${problem.hint}`;

/** This version is registered with other content. Versions are immutable: raise the version. */
export class VersionConflictError extends TroupeError {
  override readonly name = "VersionConflictError";
  readonly code = "VERSION_CONFLICT";
  readonly retryable = false;
  constructor(id: string, version: string, options?: ErrorOptions) {
    super(`Agent "${id}" version "${version}" is registered with other content: raise metadata.version`, options);
  }
}

/** No such agent, or not in this version. */
export class AgentNotFoundError extends TroupeError {
  override readonly name = "AgentNotFoundError";
  readonly code = "AGENT_NOT_FOUND";
  readonly retryable = false;
  constructor(id: string, version?: string) {
    const what = version === undefined ? `agent "${id}"` : `version "${version}" of agent "${id}"`;
    super(`There is no ${what}: register it, or list the agents to see what there is`);
  }
}

/** A skill was declared in a way that cannot run, or twice. */
export class SkillDefinitionError extends TroupeError {
  override readonly name = "SkillDefinitionError";
  readonly code = "BAD_SKILL";
  readonly retryable = false;
}

/** A command could not be started. Nothing was done: install it, or give its path. */
export class ProcessNotStartedError extends TroupeError {
  override readonly name = "ProcessNotStartedError";
  readonly code = "NOT_STARTED";
  readonly retryable = false;
  constructor(command: string, options?: ErrorOptions) {
    super(
      `The command "${command}" cannot be started (${plainError(options?.cause).message}): install it, or give its path and a folder that is there`,
      options,
    );
  }
}
