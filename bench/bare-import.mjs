// What a wake is measured against: the least a Node process does, in the module system of our services, before it can
// take a request.
import { createServer } from 'node:http';

const server = createServer((_request, response) => response.end());
server.listen(0, '127.0.0.1', () => process.stdout.write('listening\n'));
