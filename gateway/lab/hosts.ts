/** The simulated lab as data: which hosts there are and what stands on them. Invariant: a device is always (host, device). */

/** What drives a device, in the field names of a real lab's host registration. */
export interface Capabilities {
  readonly av: string | null;
  readonly remote: string | null;
  readonly desktop: string | null;
  readonly web: string | null;
  readonly power: string | null;
  readonly verification: readonly string[];
}

export interface LabDevice {
  readonly id: string;
  readonly name: string;
  readonly model: "android_mobile" | "android_tv" | "stb" | "host_vnc";
  /** False: its capture carries no sound, so audio is null and never "lost". */
  readonly audio: boolean;
  readonly capabilities: Capabilities;
}

export interface LabHost {
  readonly name: string;
  readonly devices: readonly LabDevice[];
}

const VIDEO = ["image", "text", "video"] as const;

export const LAB_HOSTS: readonly LabHost[] = [
  {
    name: "sunri-pi1",
    devices: [
      {
        id: "device1",
        name: "S21x",
        model: "android_mobile",
        audio: true,
        capabilities: {
          av: "hdmi_stream",
          remote: "android_mobile",
          desktop: null,
          web: null,
          power: null,
          verification: [...VIDEO, "audio", "adb"],
        },
      },
      {
        id: "device2",
        name: "EOS",
        model: "stb",
        audio: true,
        capabilities: {
          av: "hdmi_stream",
          remote: "ir_remote",
          desktop: null,
          web: null,
          power: "tapo",
          verification: [...VIDEO, "audio"],
        },
      },
    ],
  },
  {
    name: "sunri-pi2",
    devices: [
      {
        id: "device1",
        name: "Horizon TV",
        model: "android_tv",
        audio: true,
        capabilities: {
          av: "hdmi_stream",
          remote: "android_tv",
          desktop: null,
          web: null,
          power: "tapo",
          verification: [...VIDEO, "audio", "adb"],
        },
      },
      {
        id: "device2",
        name: "Desk",
        model: "host_vnc",
        audio: false,
        capabilities: {
          av: "vnc_stream",
          remote: null,
          desktop: "pyautogui",
          web: "playwright",
          power: null,
          verification: [...VIDEO],
        },
      },
    ],
  },
];

/** The host of that name, or undefined. */
export const labHost = (name: string): LabHost | undefined => LAB_HOSTS.find((host) => host.name === name);
