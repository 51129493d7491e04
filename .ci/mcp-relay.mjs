// A relay for clients that cannot send tokens: adds one to each request and forwards everything else, including `Host`.
// TOKEN=… TARGET=port node mcp-relay.mjs PORT
import http from 'node:http';

const { TOKEN, TARGET } = process.env;

http.createServer((request, response) => {
    const headers = { ...request.headers };
    // Replace the relay's port with the server's, because the server compares Host and Origin.
    for (const name of ['host', 'origin']) {
        if (headers[name]) headers[name] = headers[name].replace(`:${process.argv[2]}`, `:${TARGET}`);
    }
    headers.authorization = `Bearer ${TOKEN}`;
    const { method, url } = request;
    const onward = http.request({ host: '127.0.0.1', port: TARGET, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
}).listen(Number(process.argv[2]), '127.0.0.1');
