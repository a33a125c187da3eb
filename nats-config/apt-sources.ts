/**
 * Finds the Debian archive among the machine's own apt sources, so that this program names no mirror. Invariant: a
 * disabled entry, a third party's archive, or one marked `trusted` is never chosen.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export interface AptSource {
  readonly uri: string;
  /** The key that signs it, as the machine's entry has it: a path, or a key block over several lines. */
  readonly signedBy: string | undefined;
}

interface Entry {
  readonly types: readonly string[];
  readonly uris: readonly string[];
  readonly components: readonly string[];
  readonly signedBy: string | undefined;
  readonly enabled: boolean;
}

/** The archive's path on every mirror; `debian-security` and `debian-debug` have others. */
const ARCHIVE_PATH = /^https?:\/\/[^/\s]+(?:\/[^\s]*)?\/debian\/?$/;
const WHITESPACE = /\s+/;

function words(text: string | undefined): string[] {
  return (text ?? "").split(WHITESPACE).filter((word) => word !== "");
}

function stanzaFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let key = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#") || line.trim() === "") continue;
    const colon = line.indexOf(":");
    if (/^\s/.test(line)) fields.set(key, `${fields.get(key) ?? ""}\n${line}`);
    else if (colon > 0) {
      key = line.slice(0, colon).trim().toLowerCase();
      fields.set(key, line.slice(colon + 1).trim());
    }
  }
  return fields;
}

/** Entries of a `*.sources` file (deb822). */
function parseStanzas(text: string): Entry[] {
  return text
    .replaceAll("\r\n", "\n")
    .split(/\n[ \t]*\n/)
    .map(stanzaFields)
    .filter((fields) => fields.has("uris"))
    .map((fields) => ({
      types: words(fields.get("types")),
      uris: words(fields.get("uris")),
      components: words(fields.get("components")),
      signedBy: fields.get("signed-by"),
      enabled: fields.get("enabled")?.toLowerCase() !== "no" && !fields.has("trusted"),
    }));
}

/** Entries of a `*.list` file, one a line: `deb [option=value …] uri suite component…`. */
function parseLines(text: string): Entry[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+\S+\s*([^#]*)/.exec(line);
    if (match === null) return [];
    const [, type = "", options = "", uri = "", components = ""] = match;
    const signedBy = words(options)
      .find((option) => option.startsWith("signed-by="))
      ?.slice("signed-by=".length);
    return [
      { types: [type], uris: [uri], components: words(components), signedBy, enabled: !options.includes("trusted=") },
    ];
  });
}

/** The Debian archive of one apt source file, or undefined. `name` decides the format by its ending. */
export function debianArchiveIn(name: string, text: string): AptSource | undefined {
  const entries = name.endsWith(".sources") ? parseStanzas(text) : parseLines(text);
  for (const { types, uris, components, signedBy, enabled } of entries) {
    const uri = uris.find((candidate) => ARCHIVE_PATH.test(candidate));
    if (enabled && uri !== undefined && types.includes("deb") && components.includes("main")) return { uri, signedBy };
  }
  return undefined;
}

async function readIfPresent(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    // An unreadable source is as good as none: the search goes on and ends in an error that names the ways out.
    if (["ENOENT", "EACCES", "ENOTDIR", "EISDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

async function sourceFiles(directory: string): Promise<string[]> {
  try {
    const names = await readdir(join(directory, "sources.list.d"));
    const parts = names.filter((name) => /\.(sources|list)$/.test(name)).sort();
    return [join(directory, "sources.list"), ...parts.map((name) => join(directory, "sources.list.d", name))];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return [join(directory, "sources.list")];
  }
}

/** The Debian archive that this machine's apt uses, or undefined on other systems. */
export async function findDebianArchive(aptDirectory = "/etc/apt"): Promise<AptSource | undefined> {
  for (const path of await sourceFiles(aptDirectory)) {
    const source = debianArchiveIn(path, await readIfPresent(path));
    if (source !== undefined) return source;
  }
  return undefined;
}

/** A deb822 source file for one suite of `source`. */
export function renderSource(source: AptSource, suite: string): string {
  const key = source.signedBy === undefined ? "" : `Signed-By: ${source.signedBy}\n`;
  return `Types: deb\nURIs: ${source.uri}\nSuites: ${suite}\nComponents: main\n${key}`;
}
