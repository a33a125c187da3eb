/**
 * An agent definition from YAML or JSON text. Invariant: either the whole text is valid, or one error tells everything
 * that is wrong with it; nothing else is thrown, whatever the text holds.
 */
import { type SkillFacts, checkRules } from "./definition-rules.ts";
import { type AgentDefinition, definitionReader } from "./definition-schema.ts";
import { DefinitionInvalidError, type Problem } from "./errors.ts";
import { readTree } from "./positions.ts";
import { Report } from "./readers.ts";

export type { AgentDefinition, PlaybookDefinition, StepDefinition } from "./definition-schema.ts";
export type { SkillFacts } from "./definition-rules.ts";

export interface ParseOptions {
  /** Skills that exist in code. Without them, whether a skill exists and takes these arguments is not checked. */
  readonly skills?: ReadonlyMap<string, SkillFacts>;
}

/**
 * Reads and checks a definition.
 * @throws {DefinitionInvalidError} With every problem, each with its line and column.
 */
export function parseDefinition(source: string, options: ParseOptions = {}): AgentDefinition {
  const { tree, problems } = readTree(source);
  if (tree === null) throw new DefinitionInvalidError(inOrder(problems));
  const report = new Report(problems);
  const definition = definitionReader.read(tree, [], report);
  if (definition !== undefined) checkRules(definition, tree, options.skills, report);
  if (definition === undefined || report.problems.length > 0)
    throw new DefinitionInvalidError(inOrder(report.problems));
  return definition;
}

const inOrder = (problems: readonly Problem[]): Problem[] =>
  [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
