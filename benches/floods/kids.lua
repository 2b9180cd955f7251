-- What wrk sends: with each request another made-up kid.
--
--     wrk ... -s kids.lua URL -- FILE PAYLOAD
--
-- FILE: base64url of three characters in each line; PAYLOAD: what follows the header in the token.
local groups, payload = {}, ""

function init(args)
   for group in io.lines(args[1]) do groups[#groups + 1] = group end
   payload = args[2]
   math.randomseed(os.time())
end

local function group() return groups[math.random(#groups)] end

function request()
   -- {"alg":"RS256", "kid": "............"}
   local head = "eyJhbGciOiJSUzI1NiIsICJraWQiOiAi" .. group() .. group() .. group() .. group() .. "In0"
   return wrk.format("GET", "/", { Host = wrk.headers["Host"], Authorization = "Bearer " .. head .. "." .. payload })
end

function done(summary, _, _)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %f, "refused": %d, "broken": %d}\n',
      summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write))
end
