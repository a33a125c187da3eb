/** The highest fencing token that a device's driver has seen, on disk. Invariant: it only grows, and is stored before the command that brought it runs. */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { DataDirError } from "../../nats-config/errors.ts";

export interface TokenFile {
  readonly highest: number;
  /** Stores a higher token; resolves when it is on disk. Lower ones change nothing. */
  raise(token: number): Promise<void>;
}

/**
 * Opens a token file, new or from an earlier life of the driver.
 * @throws {DataDirError} Its directory cannot be made.
 * @throws {Error} It holds something else: a driver that forgot its tokens would let an old holder in.
 */
export async function openTokenFile(path: string): Promise<TokenFile> {
  try {
    await mkdir(dirname(path), { recursive: true });
  } catch (cause) {
    throw new DataDirError(dirname(path), cause);
  }
  let highest = await readToken(path);
  let stored = highest;
  let writing: Promise<void> = Promise.resolve();
  const write = async (): Promise<void> => {
    const token = highest;
    if (token <= stored) return;
    await writeToken(path, token);
    stored = token;
  };
  return {
    get highest() {
      return highest;
    },
    raise: (token) => {
      highest = Math.max(highest, token);
      // Tried anew even if the write before failed: its caller has been told.
      writing = writing.then(write, write);
      return writing;
    },
  };
}

async function readToken(path: string): Promise<number> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
  const token = Number(text.trim());
  if (text.trim() !== "" && Number.isSafeInteger(token) && token >= 0) return token;
  throw new Error(
    `The token file "${path}" holds ${JSON.stringify(text.slice(0, 40))} and no whole number: delete it only if no task drives this device`,
  );
}

async function writeToken(path: string, token: number): Promise<void> {
  const draft = `${path}.new`;
  const file = await open(draft, "w");
  try {
    await file.writeFile(`${token}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}
