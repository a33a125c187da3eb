/** Watches one actor. Invariant: it tells each revision that it saw on stdout. */
import { connect } from "../../../runtime/client.ts";

const [servers, namespace, kind, id, name] = process.argv.slice(2) as [string, string, string, string, string];
const client = await connect({ servers, namespace, name });
for await (const { revision } of client.watch(kind, id, { signal: new AbortController().signal }))
  process.stdout.write(`${revision}\n`);
