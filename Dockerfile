# One image for nodes and gateways; the command says which: "node", "gateway", or any other of `troupe --help`.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The "node" package of the dev dependencies brings its own Node by an install script; the image has one.
RUN npm ci --ignore-scripts
COPY . .
RUN node node_modules/typescript/bin/tsc -p tsconfig.build.json && npm prune --omit=dev --ignore-scripts

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# No root: nothing in the image is written at run time.
USER node
ENTRYPOINT ["node", "dist/gateway/cli.js"]
CMD ["--help"]
