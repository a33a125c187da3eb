/** Where agent definitions are kept, as the routes see it. */
export interface AgentSummary {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly versions: readonly string[];
  readonly goal: unknown;
  readonly triggers: readonly unknown[];
  readonly pools: readonly string[];
  readonly maxParallelTasks: number;
}

export interface Registered {
  readonly id: string;
  readonly version: string;
  readonly created: boolean;
}

export interface AgentDesk {
  list(): Promise<AgentSummary[]>;
  get(id: string): Promise<AgentSummary>;
  register(text: string, signal: AbortSignal): Promise<Registered>;
}
