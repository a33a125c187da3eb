/** What a simulated device shows, as a pure state. Invariant: nothing but the functions here changes a screen. */

/** What can be wrong with a picture; `degraded` is a capture whose analysis could not be completed. */
export const INCIDENTS = ["blackscreen", "freeze", "macroblocks", "degraded"] as const;
export type IncidentKind = (typeof INCIDENTS)[number];

export interface Screen {
  readonly power: "on" | "booting" | "standby";
  readonly app: "home" | "live" | "menu" | "player";
  readonly channel: number;
  /** 0 to 100. */
  readonly volume: number;
  readonly muted: boolean;
  readonly incident: IncidentKind | null;
  /** The frame that a frozen picture repeats. */
  readonly frozenAt: number;
}

export interface Channel {
  readonly number: number;
  readonly name: string;
  readonly program: string;
}

export const CHANNELS: readonly [Channel, ...Channel[]] = [
  { number: 1, name: "RTS 1", program: "Journal" },
  { number: 2, name: "RTS 2", program: "Sport dimanche" },
  { number: 3, name: "TF1", program: "Quotidien" },
  { number: 4, name: "Arte", program: "Metropolis" },
  { number: 5, name: "M6", program: "Capital" },
];

/** One press changes the volume by this much, in percent. */
const VOLUME_STEP = 5;

export const INITIAL_SCREEN: Screen = {
  power: "on",
  app: "live",
  channel: 1,
  volume: 40,
  muted: false,
  incident: null,
  frozenAt: 0,
};

const healthy = { incident: null } as const;

const KEY_EFFECTS = {
  // A user interface that is brought to the front paints anew: that is what ends a stuck or black picture.
  HOME: () => ({ ...healthy, app: "home" }),
  BACK: (screen) => ({ app: screen.app === "player" ? "menu" : "home" }),
  MENU: () => ({ app: "menu" }),
  OK: (screen) => ({ app: screen.app === "home" ? "live" : screen.app === "menu" ? "player" : screen.app }),
  UP: () => ({}),
  DOWN: () => ({}),
  LEFT: () => ({}),
  RIGHT: () => ({}),
  CHANNEL_UP: (screen) => ({ app: "live", channel: (screen.channel % CHANNELS.length) + 1 }),
  CHANNEL_DOWN: (screen) => ({ app: "live", channel: ((screen.channel + CHANNELS.length - 2) % CHANNELS.length) + 1 }),
  VOLUME_UP: (screen) => ({ muted: false, volume: Math.min(100, screen.volume + VOLUME_STEP) }),
  VOLUME_DOWN: (screen) => ({ muted: false, volume: Math.max(0, screen.volume - VOLUME_STEP) }),
  MUTE: (screen) => ({ muted: !screen.muted }),
  POWER: (screen) => ({ power: screen.power === "on" ? "standby" : "on" }),
  "0": () => ({}),
  "1": () => ({ app: "live", channel: 1 }),
  "2": () => ({ app: "live", channel: 2 }),
  "3": () => ({ app: "live", channel: 3 }),
  "4": () => ({ app: "live", channel: 4 }),
  "5": () => ({ app: "live", channel: 5 }),
} as const satisfies Record<string, (screen: Screen) => Partial<Screen>>;

export type Key = keyof typeof KEY_EFFECTS;
// The keys of an object are typed as text; these are the ones above.
export const KEYS = Object.keys(KEY_EFFECTS) as readonly Key[];
export const isKey = (value: unknown): value is Key => typeof value === "string" && Object.hasOwn(KEY_EFFECTS, value);

/** The screen after a key of the remote. A device that is off hears only POWER, and HOME, which wakes it. */
export function pressKey(screen: Screen, key: Key): Screen {
  if (screen.power === "booting") return screen;
  if (screen.power === "standby")
    return key === "POWER" || key === "HOME" ? { ...screen, power: "on", app: "home" } : screen;
  return { ...screen, ...KEY_EFFECTS[key](screen) };
}

/** Power taken and given again: black until {@link booted}. */
export const cutPower = (screen: Screen): Screen => ({ ...screen, ...healthy, power: "booting" });
export const booted = (screen: Screen): Screen => ({ ...screen, power: "on", app: "home" });

export const beginIncident = (screen: Screen, incident: IncidentKind, frame: number): Screen => ({
  ...screen,
  incident,
  frozenAt: frame,
});
export const endIncident = (screen: Screen): Screen => ({ ...screen, ...healthy });

export const channelOf = (screen: Screen): Channel =>
  CHANNELS.find((channel) => channel.number === screen.channel) ?? CHANNELS[0];
