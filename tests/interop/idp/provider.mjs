// oidc-provider, or oauth2-mock-server, on a free port: `node provider.mjs KIND PATH`. Its first line is the issuer.
// POST /rotate gives it new keys under new names; the old ones are gone.
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { generateKeyPair, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';

const require = createRequire(`${process.env.IDP}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [kind, path] = process.argv.slice(2);
const AUDIENCE = 'https://api.example.com';
const FORMS = {
    RS256: ['rsa', { modulusLength: 2048 }],
    PS256: ['rsa', { modulusLength: 2048 }],
    ES256: ['ec', { namedCurve: 'P-256' }],
    ES384: ['ec', { namedCurve: 'P-384' }],
    EdDSA: ['ed25519', {}],
};

async function keys() {
    const made = Object.entries(FORMS).map(async ([alg, form]) => {
        const { privateKey } = await promisify(generateKeyPair)(...form);
        return { ...privateKey.export({ format: 'jwk' }), kid: `${alg}-${randomUUID()}`, alg, use: 'sig' };
    });
    return { keys: await Promise.all(made) };
}

async function oidcProvider(server) {
    const { default: Provider } = await load('oidc-provider');
    const issuer = `http://127.0.0.1:${server.address().port}${path}`;
    const make = async () => {
        const provider = new Provider(issuer, {
            jwks: await keys(),
            scopes: ['api'],
            clients: [{
                client_id: 'client', client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [],
                response_types: [], scope: 'api', token_endpoint_auth_method: 'client_secret_post',
            }],
            features: {
                devInteractions: { enabled: false },
                clientCredentials: { enabled: true },
                resourceIndicators: {
                    enabled: true,
                    // The last part of the resource chooses the algorithm.
                    getResourceServerInfo: (_, resource) => ({
                        scope: 'api', audience: AUDIENCE, accessTokenFormat: 'jwt', accessTokenTTL: 300,
                        jwt: { sign: { alg: resource.split('/').pop() } },
                    }),
                },
            },
        });
        return provider.callback();
    };
    let answer = await make();
    server.on('request', async (request, response) => {
        if (request.url === '/rotate') {
            answer = await make();
            return response.end();
        }
        if (!request.url.startsWith(path)) {
            response.statusCode = 404;
            return response.end();
        }
        // As Express mounts it.
        request.originalUrl = request.url;
        request.baseUrl = path;
        request.url = request.url.slice(path.length) || '/';
        answer(request, response);
    });
    return issuer;
}

async function mockServer(server) {
    const { OAuth2Issuer, OAuth2Service } = await load('oauth2-mock-server');
    const issuer = new OAuth2Issuer();
    issuer.url = `http://localhost:${server.address().port}`;
    await issuer.keys.generate('RS256');
    const service = new OAuth2Service(issuer);
    server.on('request', (request, response) => service.requestHandler(request, response));
    return issuer.url;
}

const server = http.createServer();
server.listen(0, '127.0.0.1', async () => {
    const issuer = await { 'oidc-provider': oidcProvider, 'oauth2-mock-server': mockServer }[kind](server);
    console.log(issuer);
});
