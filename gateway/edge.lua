-- Edge: what the gateway changes in requests and replies, beyond what Envoy's own filters can.
--
-- What depends on the method comes as metadata of its route (`gateway/routes.py`). A request whose path is not in its one
-- form, or has no route, is refused here, before any other filter decides. `gateway/render.py` writes REPLIES, what is
-- then replied, and LIMITS before this text.

local ZEROS = string.rep("0", 32)
local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

-- A token of ours is far shorter.
local MAX_TOKEN = 4096

-- What comes from clients and is of use behind here. gRPC does not take every header that HTTP allows, and what a
-- service does not know of cannot deceive it.
local USED = {}
for name in ([[
  accept access-control-request-headers access-control-request-method authorization connection content-length
  content-type expect host idempotency-key if-none-match if-range last-event-id origin range te traceparent tracestate
  transfer-encoding upgrade user-agent
  x-accept-content-transfer-encoding x-accept-response-streaming x-grpc-web x-request-id x-user-agent
]]):gmatch("%S+") do
  USED[name] = true
end

-- What an upload may be checked against.
local DIGESTS = { ["content-digest"] = true, ["content-md5"] = true, ["repr-digest"] = true, ["x-content-sha256"] = true }

-- Bytes that a path may hold as an escape: those of letters beyond ASCII, and what is neither plain in a path nor read by
-- anybody as more than a character.
local ESCAPED = {}
for byte = 0x20, 0xf4 do
  local plain = byte < 0x7f and string.char(byte):find("[%w%-._~/\\;%%?#]")
  ESCAPED[byte] = not plain and byte ~= 0x7f and byte ~= 0xc0 and byte ~= 0xc1
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

local function drop_unused(headers, is_upload)
  local is_grpc = (headers:get("content-type") or ""):find("^application/grpc") ~= nil
  local unused = {}
  for name, value in pairs(headers) do
    if not used(name, value, is_grpc) and not (is_upload and DIGESTS[name]) then
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

-- Whether a path is written in the one form that everybody after us reads alike.
local function canonical(path)
  if not path:find("^/[%w%-._~/%%!$&'()*+,:=@]*$") or path:find("//", 1, true) then
    return false
  elseif path:find("/%.%.?/") or path:find("/%.%.?$") then
    return false
  end
  local rest = path:gsub("%%(%x%x)", function(digits)
    return ESCAPED[tonumber(digits, 16)] and "" or "%"
  end)
  return not rest:find("%", 1, true)
end

-- Reply one of REPLIES. Envoy itself gives gRPC the form of gRPC; `envoy_on_response` gives gRPC-Web its own.
local function refuse(handle, name, allow)
  local reply, kind = REPLIES[name], handle:headers():get("content-type") or ""
  local headers = { [":status"] = tostring(reply.status), ["grpc-status"] = tostring(reply.code), allow = allow }
  if kind:find("^application/grpc") then
    headers["grpc-status-details-bin"], headers["grpc-message"] = reply.trailer, reply.message
    handle:respond(headers, reply.message)
  else
    headers["content-type"] = "application/json"
    handle:respond(headers, reply.body)
  end
end

-- How much memory the body of a request may take until it is whole, in units: what it announces, or a quarter of the
-- most that its method takes. gRPC announces nothing, and its messages are mostly far smaller.
local function body_units(length, route)
  local most = route:get("body_bytes")
  if most == nil then
    return 1
  end
  return math.max(1, math.ceil(math.min(tonumber(length) or most / 4, most) / LIMITS.body_unit_bytes))
end

-- Headers that Envoy adds.
local function added(name)
  return name:find("^x%-forwarded%-") or name:find("^x%-envoy%-") or name == "x-request-id" or name == "x-wire-bytes"
    or name == ":scheme"
end

-- What is wrong with a request whatever is at its path: the name of a reply, or nil.
local function malformed(headers, is_http1)
  local path, host = headers:get(":path"), headers:get(":authority")
  if path == nil or headers:get(":method") == "CONNECT" then
    return "path"
  elseif host == nil or not host:find("^[%w%-._~%[%]:]+$") then
    return "host"
  elseif #path > LIMITS.path_bytes then
    return "path_length"
  end
  -- Over HTTP/1.1, at least a colon and the end of the line belong to each; to the first line `METHOD path HTTP/1.1`.
  local size, least = 0, 0
  for name, value in pairs(headers) do
    size = size + #name + #value
    if name == ":path" or name == ":method" then
      least = least + #value
    elseif not added(name) then
      least = least + #(name == ":authority" and "host" or name) + #value + 3
    end
  end
  if size > LIMITS.headers_bytes then
    return "headers"
  elseif is_http1 and (tonumber(headers:get("x-wire-bytes")) or math.huge) < least + 14 then
    -- Envoy takes lines that end without CR, which others read as part of a header.
    return "lines"
  end
  return not canonical(path:match("^[^?]*")) and "path" or nil
end

-- What is wrong with what a request brings to its route: the name of a reply, or nil.
local function misplaced(headers, route)
  local kind = headers:get("content-type") or ""
  local is_grpc = kind:find("^application/grpc") ~= nil
  if route:get("native") ~= nil and route:get("native") ~= is_grpc then
    return is_grpc and "unknown" or "native"
  elseif not is_grpc and kind:lower():find("^multipart/") then
    return "multipart"
  end
  -- A few bytes of what is compressed can stand for hundreds of megabytes.
  for _, name in ipairs({ "content-encoding", "grpc-encoding" }) do
    if (headers:get(name) or "identity"):lower() ~= "identity" then
      return "encoding"
    end
  end
  return nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local noted = handle:streamInfo():dynamicMetadata()
  local kind = headers:get("content-type") or ""
  if kind:find("^application/grpc%-web") then
    noted:set("moneyprinter", "web", kind)
  end
  local wrong = malformed(headers, handle:streamInfo():protocol() == "HTTP/1.1")
  if wrong ~= nil then
    refuse(handle, wrong)
    return
  end

  -- The specification writes both /api/v1/... and /v1/..., and tells progress as /videos/...
  local path, verb = headers:get(":path"), headers:get(":method")
  local rest = path:match("^/api(/v1/.*)$")
  if rest == nil and path:match("^/videos%f[/?%z]") then
    rest = "/v1" .. path
  end
  if rest ~= nil then
    headers:replace(":path", rest)
  end
  -- A service answers as to GET, and ends with the headers where it can.
  if verb == "HEAD" then
    headers:replace(":method", "GET")
    noted:set("moneyprinter", "head", true)
  end
  handle:clearRouteCache()
  local route = handle:metadata()
  local allow = route:get("allow")
  if allow ~= nil or not route:get("served") then
    refuse(handle, allow == nil and "unknown" or "verb", allow)
    return
  end
  wrong = misplaced(headers, route)
  if wrong ~= nil then
    refuse(handle, wrong)
    return
  end

  local length = headers:get("content-length")
  drop_unused(headers, route:get("upload"))
  -- The transcoder drops it, and what is full refuses an upload for it.
  if length ~= nil and length:find("^%d+$") then
    headers:replace("x-upload-length", length)
  end
  if verb == "HEAD" then
    headers:replace("x-http-head", "1")
  end
  local bearer = token(headers)
  if bearer ~= nil then
    headers:replace("authorization", "Bearer " .. bearer)
  elseif headers:get("authorization") ~= nil then
    if route:get("token") then
      -- Refused as what it is, and not as missing.
      headers:replace("authorization", "Bearer malformed")
    else
      headers:remove("authorization")
    end
  end
  noted:set("moneyprinter", "body_units", body_units(length, route))
  noted:set("moneyprinter", "limited", route:get("limited") or false)
  noted:set("moneyprinter", "trace_id", trace(headers))
end

-- Tells a browser the position of each event, as the id that it comes back with. The transcoder writes whole events, and
-- `position` first, where a message has one; in text, quotation marks are escaped. An event without a position only shows
-- that the stream is alive, which browsers and proxies know as a comment.
local function name_events(handle)
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 then
      local text = chunk:getBytes(0, length)
      local named, count = text:gsub('(data: {"position":"(%d+)")', "id: %2\n%1")
      local kept, alive = named:gsub('data: {"position":""[^\n]*\n', ": keep-alive\n")
      if count + alive > 0 then
        chunk:setBytes(kept)
      end
    end
  end
end

-- Lets no byte of a body through: a request for the headers alone.
local function drop_body(handle)
  for chunk in handle:bodyChunks() do
    if chunk:length() > 0 then
      chunk:setBytes("")
    end
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local kind = headers:get("content-type") or ""
  local noted = handle:streamInfo():dynamicMetadata():get("moneyprinter") or {}
  -- gRPC has but the status 200, and its metadata are its own.
  if kind:sub(1, 16) == "application/grpc" and headers:get(":status") == "200" then
    return
  elseif noted.web then
    -- One of Envoy's own replies, which it gave the form of HTTP: its headers say what its trailers would.
    headers:replace(":status", "200")
    headers:replace("content-type", noted.web)
    headers:remove("content-length")
    drop_body(handle)
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
  local method = handle:metadata()
  local may_be = code ~= nil and (method:get("statuses") or {})[code] or false
  if headers:get(":status") ~= "200" then
    -- What was said of a file is not true of an error.
    headers:remove("content-disposition")
    headers:remove("x-content-sha256")
    headers:remove("etag")
    if may_be and code >= "400" then
      headers:replace(":status", code)
    end
  else
    if may_be then
      headers:replace(":status", code)
    end
    if method:get("events") then
      headers:replace("content-type", "text/event-stream")
      if not noted.head then
        name_events(handle)
      end
    elseif size ~= nil and kind ~= "application/json" then
      -- A download says how long it is, so that a client can tell when it was cut.
      headers:replace("content-length", size)
    end
  end
  if noted.head then
    drop_body(handle)
  end
end
