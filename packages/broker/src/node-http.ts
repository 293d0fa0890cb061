/**
 * Node's HTTP, for all of this package. Not by `import`: an ES module that imports `node:http` evaluates every getter among its
 * exports, and those of WebSocket and fetch load undici, 16 MB and 30 ms that no broker needs.
 */
export const http: typeof import('node:http') = process.getBuiltinModule('node:http');
