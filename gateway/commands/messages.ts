/** `tell`, `ask` and `query`: one actor spoken to from the command line. Invariant: each prints one document. */
import type { Command } from "commander";
import type { Address } from "../../runtime/address.ts";
import type { ActorView, CallOptions } from "../../runtime/api.ts";
import type { Priority } from "../../runtime/priority.ts";
import { isObject, type JsonObject } from "../json.ts";
import { checkKnown } from "../known-resource.ts";
import { durationArgument, fieldsArgument, priorityArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { CliError, EXIT } from "./exit.ts";
import { RESOURCE_KIND } from "./locks.ts";
import { pretty, stateText, timeText } from "./output.ts";

interface SendOptions {
  readonly deadline?: number;
  readonly priority?: Priority;
}

const callOptions = ({ deadline, priority }: SendOptions): CallOptions => ({
  ...(deadline === undefined ? {} : { deadlineMs: deadline }),
  ...(priority === undefined ? {} : { priority }),
});

/** What is done with the event, and what is then printed. */
type Send = (
  context: CommandContext,
  to: Address,
  event: { readonly type: string },
  options: CallOptions,
) => Promise<void>;

function sending(program: Command, deps: CliDeps, name: string, description: string, send: Send): void {
  common(program.command(name).description(description))
    .argument("<kind>", "kind of the actor")
    .argument("<id>", "id of the actor")
    .argument("<type>", "type of the event")
    .argument("[json]", "other fields of the event, like '{\"by\":1}'", fieldsArgument)
    .option("--deadline <duration>", "give up after this long, like 10s", durationArgument)
    .option("--priority <lane>", "critical, high, normal or low", priorityArgument)
    .action(
      async (
        kind: string,
        id: string,
        type: string,
        fields: JsonObject | undefined,
        options: SendOptions,
        command: Command,
      ) => await send(new CommandContext(deps, command), { kind, id }, { ...fields, type }, callOptions(options)),
    );
}

const tell: Send = async (context, { kind, id }, event, options) => {
  await context.withClient(async (client) => {
    if (kind === RESOURCE_KIND) await checkKnown(client, id, event, options);
    await client.tell(kind, id, event, options);
  });
  const { type } = event;
  context.output.print({ told: { kind, id, type } }, () => `${type} is stored for ${kind}/${id}`);
};

const ask: Send = async (context, { kind, id }, event, options) => {
  const reply = await context.withClient(async (client) => {
    if (kind === RESOURCE_KIND) await checkKnown(client, id, event, options);
    return await client.ask(kind, id, event, options);
  });
  context.output.print(reply ?? null, pretty);
  // The system's actors refuse in their reply; a script must not take that for done.
  if (isObject(reply) && reply["ok"] === false) {
    const why = reply["message"] ?? reply["code"];
    throw new CliError(
      EXIT.failed,
      `${kind}/${id} refuses "${event.type}": ${typeof why === "string" ? why : "see the reply"}`,
    );
  }
};

export function messageCommands(program: Command, deps: CliDeps): void {
  sending(program, deps, "tell", "send an event; done when it is stored", tell);
  sending(program, deps, "ask", "send an event and print the reply; exit 1 if that says ok: false", ask);
  common(program.command("query").description("print an actor's state"))
    .argument("<kind>", "kind of the actor")
    .argument("<id>", "id of the actor")
    .option("--deadline <duration>", "give up after this long, like 10s", durationArgument)
    .action(async (kind: string, id: string, options: SendOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const view = await context.withClient((client) => client.query(kind, id, callOptions(options)));
      context.output.print(view, viewText);
    });
}

function viewText(view: ActorView): string {
  const head = `${view.kind}/${view.id}  ${stateText(view.value)}  (${view.status}, revision ${view.revision}, node ${view.node}, ${timeText(view.updatedAtMs)})`;
  const error = view.error === undefined ? [] : [`error: ${view.error}`];
  const output = view.output === undefined ? [] : [`output: ${pretty(view.output)}`];
  return [head, ...error, ...output, pretty(view.context)].join("\n");
}
