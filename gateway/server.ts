/**
 * The HTTP door. Invariant: it translates requests into messages and queries and holds no state; every refusal, also
 * fastify's and the HTTP parser's own, is a problem document.
 */
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from "fastify";
import type { Socket } from "node:net";
import { BODY_LIMIT, takeBodies } from "./bodies.ts";
import type { GatewayDeps } from "./deps.ts";
import { GatewayError, type GatewayCode } from "./errors.ts";
import { hostCheck } from "./hosts.ts";
import { toJson } from "./json.ts";
import { describeRoutes, serveOpenApi } from "./openapi.ts";
import { PROBLEM_TYPE, problemOf } from "./problem.ts";
import { actorRoutes } from "./routes/actors.ts";
import { agentRoutes } from "./routes/agents.ts";
import { deadRoutes } from "./routes/dead.ts";
import { crewRoutes } from "./routes/crews.ts";
import { eventRoutes } from "./routes/events.ts";
import { healthRoutes } from "./routes/health.ts";
import { lockCommandRoutes } from "./routes/lock-commands.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { occupancyRoutes } from "./routes/occupancy.ts";
import { reservationRoutes } from "./routes/reservations.ts";
import { resourceRoutes } from "./routes/resources.ts";
import { taskRoutes } from "./routes/tasks.ts";
import { PROBLEM_SCHEMA } from "./schemas.ts";
import { schemaCompiler, validationError } from "./validation.ts";

/** A whole request must have arrived within this, in ms: a slow sender must not hold a socket. */
const REQUEST_TIMEOUT_MS = 10_000;
/** An answer is given up after this, in ms: above the deadline of every read, so those answer first. */
const HANDLER_TIMEOUT_MS = 15_000;
/** An idle connection is closed after this, in ms. */
const KEEP_ALIVE_MS = 5_000;
/** Longest path parameter that is looked at, in characters; longer ones are no path of ours. Room for escapes. */
const PARAM_MAX = 1_024;
/** Bytes of random in a request's id. */
const REQUEST_ID_BYTES = 8;

const SECURITY_HEADERS = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

export interface ServerOptions extends GatewayDeps {
  readonly log: FastifyBaseLogger;
  /** Address it will listen on; decides which Host headers pass. */
  readonly host: string;
  /** Further names it is reached by, when it listens on loopback behind a proxy. */
  readonly hostNames?: readonly string[];
  readonly version: string;
}

/** The server, ready to listen or to be injected into. */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const app: FastifyInstance = fastify({
    loggerInstance: options.log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Node's own refusal of a missing Host has no body: the check of the Host answers.
    http: { requireHostHeader: false },
    handlerTimeout: HANDLER_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: "idle",
    // A request on a connection that is kept alive is finished while stopping; fastify's own 503 is no problem document.
    return503OnClosing: false,
    genReqId: () => options.clock.randomId(REQUEST_ID_BYTES),
    routerOptions: { maxParamLength: PARAM_MAX },
    frameworkErrors: sendProblem,
    clientErrorHandler,
  });
  app.setValidatorCompiler(schemaCompiler());
  app.setSchemaErrorFormatter((errors, part) => validationError(errors as Parameters<typeof validationError>[0], part));
  // Answers are checked against their schemas by the tests; at run time a schema must not turn an answer into a 500.
  app.setSerializerCompiler(() => toJson);
  app.setReplySerializer(toJson);
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler((request, reply) =>
    sendProblem(new GatewayError("NOT_FOUND", "There is nothing here: /openapi.json lists every path"), request, reply),
  );
  app.addSchema(PROBLEM_SCHEMA);
  guard(app, options);
  takeBodies(app);
  const routes = watchRoutes(app);
  await describeRoutes(app, options.version);
  for (const add of [
    healthRoutes,
    eventRoutes,
    actorRoutes,
    deadRoutes,
    taskRoutes,
    resourceRoutes,
    crewRoutes,
    occupancyRoutes,
    lockCommandRoutes,
    reservationRoutes,
    nodeRoutes,
    agentRoutes,
  ]) {
    add(app, options);
  }
  serveOpenApi(app);
  refuseOtherMethods(app, routes);
  await app.ready();
  return app;
}

function guard(app: FastifyInstance, { host, hostNames = [] }: ServerOptions): void {
  const checkHost = hostCheck(host, hostNames);
  app.addHook("onRequest", async (request, reply) => {
    reply.headers(SECURITY_HEADERS).header("x-request-id", request.id);
    checkHost(request.headers.host);
  });
  app.addHook("onResponse", async (request, reply) => {
    const { method, url } = request;
    request.log.info({ method, url, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }, "Answered");
  });
}

function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { problem, retryAfterS, internal } = problemOf(error, request);
  if (internal) request.log.error({ err: error, code: problem.code }, "Request failed");
  else request.log.debug({ err: error, code: problem.code }, "Request refused");
  if (retryAfterS !== undefined) reply.header("retry-after", retryAfterS);
  // Serialized here: fastify's error path must not choose another form.
  reply.code(problem.status).headers(SECURITY_HEADERS).type(PROBLEM_TYPE).send(toJson(problem));
}

/** Methods by path, as routes are added. */
function watchRoutes(app: FastifyInstance): ReadonlyMap<string, Set<string>> {
  const routes = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    const methods = routes.get(url) ?? new Set<string>();
    for (const one of [method].flat()) methods.add(one);
    routes.set(url, methods);
  });
  return routes;
}

function refuseOtherMethods(app: FastifyInstance, routes: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, methods] of [...routes]) {
    const allow = [...methods].join(", ");
    app.route({
      url,
      method: app.supportedMethods.filter((method) => !methods.has(method)),
      schema: { hide: true },
      onRequest: async (request, reply) => {
        reply.header("allow", allow);
        throw new GatewayError("METHOD_NOT_ALLOWED", `${request.method} is not for this path: use ${allow}`);
      },
      handler: async () => undefined,
    });
  }
}

const PARSER_FAULTS: Readonly<Record<string, readonly [GatewayCode, string]>> = {
  HPE_HEADER_OVERFLOW: ["HEADERS_TOO_LARGE", "The headers are too large: send fewer or shorter ones"],
  ERR_HTTP_REQUEST_TIMEOUT: [
    "REQUEST_TIMEOUT",
    `The request did not arrive within ${REQUEST_TIMEOUT_MS} ms: send it again`,
  ],
  HPE_INVALID_EOF_STATE: [
    "BAD_REQUEST",
    "The request ended before its body was complete: send it again, whole, with the Content-Length it has",
  ],
};

/** What Node's parser refuses never becomes a request: answered on the socket itself. */
function clientErrorHandler(error: Error & { readonly code?: string; readonly reason?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [code, message] =
    PARSER_FAULTS[error.code ?? ""] ??
    ([
      "BAD_REQUEST",
      `This is not an HTTP request (${error.reason ?? error.code ?? "unreadable"}): check the client, and that it speaks http and not https`,
    ] as const);
  const { problem } = problemOf(new GatewayError(code, message), { url: "/", id: "" });
  const body = toJson(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
