// The service for node: it writes down each request that it is given and reads no body.
const { appendFileSync } = require("node:fs");
const http = require("node:http");

const server = http.createServer((request, response) => {
  appendFileSync(process.env.SEEN, `${request.method} ${request.url}\n`);
  response.end("ok");
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
