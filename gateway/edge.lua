-- Edge: what the gateway changes in requests and replies, beyond what Envoy's own filters can.
--
-- What depends on the method comes as metadata of its route: `statuses`, those that it may give its answers
-- over REST, and `events`, whether it answers with server-sent events.

local ZEROS = string.rep("0", 32)
local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

-- A token of ours is far shorter.
local MAX_TOKEN = 4096

-- What comes from clients and is of use behind here. gRPC does not take every header that HTTP allows, and what a
-- service does not know of cannot deceive it.
local USED = {}
for name in ([[
  accept access-control-request-headers access-control-request-method authorization connection content-length
  content-type expect host idempotency-key last-event-id origin range te traceparent tracestate transfer-encoding upgrade user-agent
  x-accept-content-transfer-encoding x-accept-response-streaming x-grpc-web x-request-id x-user-agent
]]):gmatch("%S+") do
  USED[name] = true
end

-- Whether a header is Envoy's own, which has already dropped what a client said by such a name, or of use.
local function used(name, value, is_grpc)
  if name:find("^:") or name:find("^x%-envoy%-") or name:find("^x%-forwarded%-") then
    return true
  elseif value:find("[^ -~]") then
    return false
  elseif name == "grpc-timeout" then
    return is_grpc and #value <= 9 and value:find("^%d+[HMSmun]$") ~= nil
  end
  return USED[name] or is_grpc and (name == "grpc-encoding" or name == "grpc-accept-encoding")
end

local function drop_unused(headers)
  local is_grpc = (headers:get("content-type") or ""):find("^application/grpc") ~= nil
  local unused = {}
  for name, value in pairs(headers) do
    if not used(name, value, is_grpc) then
      unused[#unused + 1] = name
    end
  end
  for _, name in ipairs(unused) do
    headers:remove(name)
  end
end

-- What base64url stands for.
local function decoded(text)
  local bytes, bits, count = {}, 0, 0
  for digit in text:gmatch(".") do
    bits, count = bits * 64 + DIGITS:find(digit, 1, true) - 1, count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(math.floor(bits / 2 ^ count))
      bits = bits % 2 ^ count
    end
  end
  return table.concat(bytes)
end

-- Whether a token's header asks for something that must be understood (`crit`, RFC 7515), which Envoy does not look
-- for. JSON has many spellings of a name that is written with escapes; ours are written without.
local function asks_for_more(head)
  local json = decoded(head)
  return json:find("\\", 1, true) or json:find('"%s*crit%s*"')
end

-- The token of an `authorization` header, if it is one token in the one form that everybody after us reads alike,
-- and asks for nothing more.
local function token(headers)
  local scheme, head, rest = (headers:get("authorization") or ""):match("^(%a+) ([%w%-_]+)(%.[%w%-_]+%.[%w%-_]+)$")
  if scheme == nil or scheme:lower() ~= "bearer" or headers:getNumValues("authorization") ~= 1 then
    return nil
  end
  if #head + #rest > MAX_TOKEN or asks_for_more(head) then
    return nil
  end
  return head .. rest
end

-- The trace of a request: the one that a client has begun, or a new one with the id that the client is told.
local function trace(headers)
  local given = headers:get("traceparent") or ""
  local id, span = given:match("^00%-(%x+)%-(%x+)%-%x%x$")
  if id and #id == 32 and #span == 16 and id ~= ZEROS and given == given:lower() then
    return id
  end
  id = (headers:get("x-request-id") or ""):gsub("%-", ""):lower()
  headers:remove("tracestate")
  if not id:match("^%x+$") or #id ~= 32 then
    headers:remove("traceparent")
    return ""
  end
  headers:replace("traceparent", "00-" .. id .. "-" .. id:sub(17) .. "-01")
  return id
end

-- Whether a request's body is compressed: a few bytes of it can stand for hundreds of megabytes.
local function compressed(headers)
  for _, name in ipairs({ "content-encoding", "grpc-encoding" }) do
    local value = headers:get(name)
    if value ~= nil and value:lower() ~= "identity" then
      return true
    end
  end
  return false
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if compressed(headers) then
    handle:respond({ [":status"] = "415" }, "")
    return
  end
  local length = headers:get("content-length")
  drop_unused(headers)
  -- The transcoder drops it, and what is full refuses an upload for it.
  if length ~= nil and length:find("^%d+$") then
    headers:replace("x-upload-length", length)
  end

  local bearer = token(headers)
  if bearer ~= nil then
    headers:replace("authorization", "Bearer " .. bearer)
  else
    headers:remove("authorization")
  end

  -- The specification writes both /api/v1/... and /v1/..., and tells progress as /videos/...
  local path = headers:get(":path") or ""
  local rest = path:match("^/api(/v1/.*)$")
  if rest == nil and path:match("^/videos%f[/?%z]") then
    rest = "/v1" .. path
  end
  if rest ~= nil then
    headers:replace(":path", rest)
  end

  handle:streamInfo():dynamicMetadata():set("moneyprinter", "trace_id", trace(headers))
end

-- Tells a browser the position of each event, as the id that it comes back with. The transcoder writes whole events, and
-- `position` first, where a message has one; in text, quotation marks are escaped.
function name_events(handle)
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 then
      local text = chunk:getBytes(0, length)
      local named, count = text:gsub('(data: {"position":"(%d+)")', "id: %2\n%1")
      if count > 0 then
        chunk:setBytes(named)
      end
    end
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local kind = headers:get("content-type") or ""
  -- gRPC has but the status 200, and its metadata are its own.
  if kind:sub(1, 16) == "application/grpc" then
    return
  end
  local code = headers:get("x-http-code")
  local size = headers:get("x-content-length")
  headers:remove("x-http-code")
  headers:remove("x-content-length")
  headers:remove("grpc-status")
  headers:remove("grpc-message")
  headers:remove("grpc-accept-encoding")
  if headers:get(":status"):find("^5") and headers:get("retry-after") == nil then
    -- A service that dies or stops ends its calls without saying when to come back.
    headers:add("retry-after", "1")
  end
  if headers:get(":status") ~= "200" then
    -- What was said of a file is not true of an error.
    headers:remove("content-disposition")
    headers:remove("x-content-sha256")
  else
    local method = handle:metadata()
    if code ~= nil and (method:get("statuses") or {})[code] then
      headers:replace(":status", code)
    end
    if method:get("events") then
      headers:replace("content-type", "text/event-stream")
      name_events(handle)
    elseif size ~= nil and kind ~= "application/json" then
      -- A download says how long it is, so that a client can tell when it was cut. HTTP/1.1 has but one
      -- way to end it early, to close the connection.
      headers:replace("content-length", size)
      if handle:streamInfo():protocol() ~= "HTTP/2" then
        handle:streamInfo():drainConnectionUponCompletion()
      end
    end
  end
end
