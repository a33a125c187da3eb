/**
 * What happened in a lab, CloudEvents 1.0 in meaning. Invariant: `(source, id)` names one happening however often it is
 * delivered, and `device` is null unless the event itself says which device it is about.
 */
import type { Priority } from "../../runtime/priority.ts";

/** A device as the lab names it: where it is plugged in, and what it is called there. */
export interface DevicePlace {
  readonly host: string;
  readonly device: string;
}

export interface LabEvent {
  readonly id: string;
  /** Who says so: `device/<host>/<device>`, `http`, … */
  readonly source: string;
  /** Dotted, most general word first: `alert.blackscreen`. */
  readonly type: string;
  /** When it happened, in ms since 1970. */
  readonly timeMs: number;
  readonly priority: Priority;
  readonly data: unknown;
  readonly device: DevicePlace | null;
}

/** Actor id of a device and of its lock. Hosts hold no colon, so the first colon divides. */
export const deviceId = (place: DevicePlace): string => `${place.host}:${place.device}`;

/** Splits what {@link deviceId} joined; null if `id` names no device. */
export function placeOf(id: string): DevicePlace | null {
  const colon = id.indexOf(":");
  if (colon < 1 || colon === id.length - 1) return null;
  return { host: id.slice(0, colon), device: id.slice(colon + 1) };
}

/** Name under which duplicates of one happening are recognised. */
export const eventKey = (event: Pick<LabEvent, "source" | "id">): string => `${event.source}/${event.id}`;
