-- What wrk sends: one token of a file for each request.
--
--     wrk -t1 ... -s requests.lua URL -- FILE loop|once [PAUSE]
--
-- loop: from the top again at its end; once: no token twice, and the run ends with the file.
-- PAUSE: each connection waits for 0 to 2 × PAUSE milliseconds before each request.
local requests, position, once = {}, 0, false

function init(args)
   for token in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format("GET", "/", { Host = wrk.headers["Host"], Authorization = "Bearer " .. token })
   end
   once = args[2] == "once"
   local pause = tonumber(args[3] or 0)
   if pause > 0 then
      math.randomseed(1)
      function delay() return math.random(0, 2 * pause) end
   end
   -- wrk asks for one request that it does not send before it begins.
   position = -1
end

function request()
   if position >= #requests then
      -- A request that is still sent after this is not counted: its answer is not waited for.
      if once then wrk.thread:stop() else position = 0 end
   end
   if position < #requests then position = position + 1 end
   return requests[math.max(position, 1)]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "p50_us": %d, "p99_us": %d}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99)))
end
