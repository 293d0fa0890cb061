// The same server as a CommonJS module. Starts sooner: `require` leaves alone the getters among the exports of node:http,
// while an import reads them all, and that loads undici.
const { createServer } = require('node:http');

const server = createServer((_request, response) => response.end());
server.listen(0, '127.0.0.1', () => process.stdout.write('listening\n'));
