/** The two reads of a kind that has routes of its own: a page of its actors, and one of them. Invariant: reads only. */
import type { FastifyInstance } from "fastify";
import type { ActorView, Client } from "../../runtime/api.ts";
import type { GatewayDeps } from "../deps.ts";
import { type Order, type PageQuery, READ_DEADLINE_MS, readActor, readPage, within } from "../reads.ts";
import { answers, ID, object, page, paged, type Schema, UNREADABLE } from "../schemas.ts";

/** Filters are those of the lists that have them. */
export interface ListQuery extends PageQuery {
  readonly state?: string;
  readonly agent?: string;
}

export interface KindRoutes {
  readonly kind: string;
  /** As in `/api/tasks`; also the tag. */
  readonly plural: string;
  /** As in `listTasks`. */
  readonly names: { readonly list: string; readonly read: string };
  readonly list: {
    readonly summary: string;
    readonly order: Order;
    readonly item: Schema;
    readonly filters?: Readonly<Record<string, Schema>>;
    /** Made anew for each request: tells which actors are left out. */
    readonly without?: (client: Client) => Promise<(view: ActorView) => boolean>;
    /** Null leaves the actor out. */
    readonly show: (view: ActorView, query: ListQuery) => object | null;
  };
  readonly one: { readonly summary: string; readonly item: Schema; readonly show: (view: ActorView) => object };
}

/** Shown beside what a route shows of an actor. */
function staleness({ stale, staleSinceMs }: ActorView) {
  return stale === true ? { stale, staleSinceMs } : {};
}

const NOTHING = Promise.resolve(() => false);

export function kindRoutes(
  app: FastifyInstance,
  deps: GatewayDeps,
  { kind, plural, names, list, one }: KindRoutes,
): void {
  app.get<{ Querystring: ListQuery }>(
    `/api/${plural}`,
    {
      schema: {
        operationId: names.list,
        tags: [plural],
        summary: `${list.summary}; those that cannot be read are marked`,
        querystring: paged(list.filters),
        response: answers({ 200: [`A page of ${plural}`, page({ anyOf: [list.item, UNREADABLE] })] }, [404]),
      },
    },
    async ({ query, signal }) => {
      const isLeftOut = await within(deps.clock, list.without?.(deps.client) ?? NOTHING, READ_DEADLINE_MS);
      return await readPage(deps, { kind, order: list.order, query, signal }, (view) => {
        const shown = isLeftOut(view) ? null : list.show(view, query);
        return shown === null ? null : { ...shown, ...staleness(view) };
      });
    },
  );

  app.get<{ Params: { id: string } }>(
    `/api/${plural}/:id`,
    {
      schema: {
        operationId: names.read,
        tags: [plural],
        summary: one.summary,
        params: object({ id: ID }),
        response: answers({ 200: [`The ${kind}`, one.item] }, [404, 409]),
      },
    },
    async ({ params, signal }) => {
      const view = await readActor(deps.client, kind, params.id, { signal });
      return { ...one.show(view), ...staleness(view) };
    },
  );
}
