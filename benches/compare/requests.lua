-- What wrk sends: one token of a file for each request.
--
--     wrk -t1 ... -s requests.lua URL -- FILE loop|once PAUSE PATH
--
-- loop: from the top again at its end; once: no token twice, and the run ends with the file, or before.
-- PAUSE: each connection waits for 0 to 2 × PAUSE milliseconds before each request.
local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int, int);")
local SIGINT = 2
local requests, position, once = {}, 0, false

function init(args)
   once = args[2] == "once"
   local pause, path, host = tonumber(args[3]), args[4], wrk.headers["Host"]
   for token in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format("GET", path, { Host = host, Authorization = "Bearer " .. token })
   end
   if pause > 0 then
      math.randomseed(1)
      function delay() return math.random(0, 2 * pause) end
   end
   -- wrk asks for one request that it does not send before it begins.
   position = -1
end

-- A request that is still sent after this is not counted: its answer is not waited for.
local stopped = false
local function stop()
   if stopped then return end
   stopped = true
   wrk.thread:stop()
   -- wrk itself would sleep until its time is over.
   ffi.C.kill(ffi.C.getpid(), SIGINT)
end

function request()
   if position >= #requests then
      if once then stop() else position = 0 end
   end
   if position < #requests then position = position + 1 end
   return requests[math.max(position, 1)]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "bytes": %d, "p50_us": %d, "p99_us": %d}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      summary.bytes, latency:percentile(50), latency:percentile(99)))
end
