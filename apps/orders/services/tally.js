// Counts orders by article. Plain Node: a Pub/Sub push is a POST, any 2xx of Pub/Sub's list is an ack.
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { message } = JSON.parse(Buffer.concat(chunks).toString());
  const { sku, quantity } = JSON.parse(Buffer.from(message.data, 'base64').toString());
  if (process.env.ORDERS_TALLY_FILE) appendFileSync(process.env.ORDERS_TALLY_FILE, `${sku} ${quantity}\n`);
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), '127.0.0.1');
