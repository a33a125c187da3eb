/** How `troupe dev` shows itself: a live screen on a terminal, lines elsewhere, JSON lines for scripts. Invariant: never wider than the terminal. */
import type { Clock, TimerHandle } from "../../runtime/clock.ts";
import type { Io } from "../commands/output.ts";
import { shorten } from "../commands/output.ts";
import { toJson } from "../json.ts";
import type { Addresses, DevFacts, View } from "./reporter.ts";

/** Pause between two paintings, in ms: faster than the eye asks for, slow enough to cost nothing. */
const PAINT_EVERY_MS = 200;
const ESC = "\u001b[";
const ENTER_SCREEN = `${ESC}?1049h${ESC}?25l`;
const LEAVE_SCREEN = `${ESC}?25h${ESC}?1049l`;
const HOME = `${ESC}H`;
const CLEAR_LINE = `${ESC}K`;
const CLEAR_BELOW = `${ESC}J`;
/** Rows of locks shown: a lab's busy devices; `troupe locks` shows all. */
const LOCK_ROWS = 6;
/** Rows of happenings shown at least, however small the terminal. */
const MIN_HAPPENINGS = 4;

export interface Terminal {
  readonly columns: number;
  readonly rows: number;
}

const clockText = (ms: number): string => new Date(ms).toTimeString().slice(0, 8);

/** What one can do with a running cluster, as commands to copy. */
export function hints({ gateway, mqtt, deviceRoot }: Addresses): string[] {
  const broker = mqtt === null ? undefined : new URL(mqtt);
  return [
    `curl -s ${gateway}/api/tasks`,
    `curl -s ${gateway}/api/resources`,
    `curl -s ${gateway}/openapi.json`,
    ...(broker === undefined
      ? []
      : [
          `mosquitto_pub -p ${broker.port} -q 1 -t ${deviceRoot}/sunri-pi1/device2/event/alert/blackscreen -m '{"status":"active"}'`,
        ]),
    "npm run -s troupe -- ps task   (or: locks, dead, history task <id>)",
  ];
}

/** The live screen as lines. Pure. */
export function screenLines(facts: DevFacts, terminal: Terminal): string[] {
  const { parts, happenings, locks, addresses } = facts;
  const nameWidth = Math.max(0, ...[...parts.keys()].map((name) => name.length));
  const head = [
    `troupe dev${addresses === undefined ? "" : `   ${addresses.gateway}   ${addresses.nats}   data in ${addresses.dataDir}`}`,
    "Ctrl-C stops; what is stored stays",
    "",
    ...[...parts.values()].map((part) => `  ${part.name.padEnd(nameWidth)}  ${part.state.padEnd(8)}  ${part.note}`),
  ];
  const held = locks.filter((lock) => lock.holder !== null).slice(0, LOCK_ROWS);
  const lockLines = held.map(
    (lock) => `  ${lock.resource}  ${lock.holder ?? ""}  token ${lock.token ?? "-"}  ${lock.queue.length} waiting`,
  );
  const foot = [
    "",
    "Locks",
    ...(lockLines.length === 0 ? ["  all free"] : lockLines),
    "",
    "Try",
    ...(addresses === undefined ? [] : hints(addresses).map((hint) => `  ${hint}`)),
  ];
  const room = Math.max(MIN_HAPPENINGS, terminal.rows - head.length - foot.length - 3);
  const now = happenings
    .slice(-room)
    .map(({ timeMs, topic, text }) => `  ${clockText(timeMs)}  ${topic.padEnd(5)}  ${text}`);
  return [...head, "", "Now", ...now, ...foot].map((line) => shorten(line, Math.max(20, terminal.columns - 1)));
}

/** Paints over itself on the terminal's second screen, so that the shell's text is back afterwards. */
export function liveView(io: Io, clock: Clock, terminal: () => Terminal): View {
  let latest: DevFacts | undefined;
  let timer: TimerHandle | undefined;
  let open = true;
  const paint = (): void => {
    timer = undefined;
    if (latest === undefined || !open) return;
    io.out(
      HOME +
        screenLines(latest, terminal())
          .map((line) => `${line}${CLEAR_LINE}\n`)
          .join("") +
        CLEAR_BELOW,
    );
  };
  io.out(ENTER_SCREEN);
  return {
    line: () => {},
    paint: (facts) => {
      latest = facts;
      timer ??= clock.setTimeout(paint, PAINT_EVERY_MS);
    },
    close: () => {
      if (!open) return;
      open = false;
      clock.clearTimeout(timer);
      io.out(LEAVE_SCREEN);
    },
  };
}

/** One line each. */
export function lineView(io: Io): View {
  let shown = false;
  return {
    line: ({ timeMs, topic, text }) => io.out(`${clockText(timeMs)}  ${topic.padEnd(14)}  ${shorten(text, 240)}\n`),
    paint: ({ addresses }) => {
      if (addresses === undefined || shown) return;
      shown = true;
      for (const hint of hints(addresses)) io.out(`    ${hint}\n`);
    },
    close: () => {},
  };
}

/** One JSON line each. */
export function jsonView(io: Io): View {
  let shown = false;
  return {
    line: ({ timeMs, topic, text }, data) =>
      io.out(`${toJson({ time: new Date(timeMs).toISOString(), topic, text, ...data })}\n`),
    paint: ({ addresses }) => {
      if (addresses === undefined || shown) return;
      shown = true;
      io.out(`${toJson({ topic: "ready", addresses })}\n`);
    },
    close: () => {},
  };
}
