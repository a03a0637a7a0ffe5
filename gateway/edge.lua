-- Edge: changes to requests and responses that Envoy's own filters cannot make.
--
-- The properties of the method come as metadata of its route (`gateway/routes.py`). This script refuses a request without
-- a route or with a non-canonical path before any other filter decides. `gateway/render.py` writes the constants REPLIES
-- and LIMITS before this text.

local ZEROS = string.rep("0", 32)
local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

-- The platform's own tokens are far shorter.
local MAX_TOKEN_BYTES = 4096

-- Envoy's own replies are shorter.
local MAX_REPLY_BYTES = 8192

-- The client headers that services and filters use; all others are dropped. gRPC does not accept every header that HTTP
-- allows, and a service cannot be deceived by a header that it never receives.
local FORWARDED_HEADERS = {}
for name in ([[
  accept access-control-request-headers access-control-request-method authorization connection content-length
  content-type expect host idempotency-key if-none-match if-range last-event-id origin range te traceparent tracestate
  transfer-encoding upgrade user-agent
  x-accept-content-transfer-encoding x-accept-response-streaming x-grpc-web x-request-id x-user-agent
]]):gmatch("%S+") do
  FORWARDED_HEADERS[name] = true
end

-- The digests that verify an upload.
local DIGEST_HEADERS = { ["content-digest"] = true, ["content-md5"] = true, ["repr-digest"] = true, ["x-content-sha256"] = true }

-- The bytes that may stand as an escape in a path: those of non-ASCII letters, and ASCII characters that must be escaped
-- and that no parser treats as a delimiter.
local ESCAPABLE = {}
for byte = 0x20, 0xf4 do
  local plain = byte < 0x7f and string.char(byte):find("[%w%-._~/\\;%%?#]")
  ESCAPABLE[byte] = not plain and byte ~= 0x7f and byte ~= 0xc0 and byte ~= 0xc1
end

-- Reports whether a header stays: Envoy's own headers (Envoy has dropped the client's by these names) and the used ones.
local function is_forwarded(name, value, is_grpc)
  if name:find("^:") or name:find("^x%-envoy%-") or name:find("^x%-forwarded%-") then
    return true
  elseif value:find("[^ -~]") then
    return false
  elseif name == "grpc-timeout" then
    return is_grpc and #value <= 9 and value:find("^%d+[HMSmun]$") ~= nil
  end
  return FORWARDED_HEADERS[name] or is_grpc and (name == "grpc-encoding" or name == "grpc-accept-encoding")
end

local function drop_headers(headers, is_upload)
  local is_grpc = (headers:get("content-type") or ""):find("^application/grpc") ~= nil
  local dropped = {}
  for name, value in pairs(headers) do
    if not is_forwarded(name, value, is_grpc) and not (is_upload and DIGEST_HEADERS[name]) then
      dropped[#dropped + 1] = name
    end
  end
  for _, name in ipairs(dropped) do
    headers:remove(name)
  end
end

-- Decodes base64url.
local function decode_base64url(text)
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

-- Reports whether a token's header has critical extensions (`crit`, RFC 7515), which Envoy ignores. Escapes can spell the
-- name in many ways, so any escape counts as one: the platform's own tokens have none.
local function has_critical_extensions(head)
  local json = decode_base64url(head)
  return json:find("\\", 1, true) or json:find('"%s*crit%s*"')
end

-- Returns the token of the `authorization` header; nil unless it is a single bearer token in the form that Envoy and the
-- services parse alike, without critical extensions.
local function parse_bearer_token(headers)
  local scheme, head, rest = (headers:get("authorization") or ""):match("^(%a+) ([%w%-_]+)(%.[%w%-_]+%.[%w%-_]+)$")
  if scheme == nil or scheme:lower() ~= "bearer" or headers:getNumValues("authorization") ~= 1 then
    return nil
  end
  if #head + #rest > MAX_TOKEN_BYTES or has_critical_extensions(head) then
    return nil
  end
  return head .. rest
end

-- Continues the client's trace, or starts one with the request id that the response shows. Returns the trace id.
local function set_trace(headers)
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

-- Reports whether a path is in the form that Envoy and the services parse alike.
local function is_canonical(path)
  if not path:find("^/[%w%-._~/%%!$&'()*+,:=@]*$") or path:find("//", 1, true) then
    return false
  elseif path:find("/%.%.?/") or path:find("/%.%.?$") then
    return false
  end
  local rest = path:gsub("%%(%x%x)", function(digits)
    return ESCAPABLE[tonumber(digits, 16)] and "" or "%"
  end)
  return not rest:find("%", 1, true)
end

-- Sends one of REPLIES. Envoy converts it for gRPC, and `envoy_on_response` for gRPC-Web.
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

-- Returns the memory that a body may take until it is complete, in units: its announced length, or a quarter of the
-- largest body of its method. gRPC announces no length, and most of its messages are far smaller.
local function body_units(length, route)
  local max_bytes = route:get("body_bytes")
  if max_bytes == nil then
    return 1
  end
  return math.max(1, math.ceil(math.min(tonumber(length) or max_bytes / 4, max_bytes) / LIMITS.body_unit_bytes))
end

-- Reports whether Envoy, and not the client, has added a header.
local function is_added_by_envoy(name)
  return name:find("^x%-forwarded%-") or name:find("^x%-envoy%-") or name == "x-request-id" or name == "x-wire-bytes"
    or name == ":scheme"
end

-- Checks a request apart from its route. Returns the name of a reply, or nil when it is well-formed.
local function check_request(headers, is_http1)
  local path, host = headers:get(":path"), headers:get(":authority")
  if path == nil or headers:get(":method") == "CONNECT" then
    return "path"
  elseif host == nil or not host:find("^[%w%-._~%[%]:]+$") then
    return "host"
  elseif #path > LIMITS.path_bytes then
    return "path_length"
  end
  -- Over HTTP/1.1, each header takes at least a colon and a line end; the first line is `METHOD path HTTP/1.1`.
  local size, min_wire_bytes = 0, 0
  for name, value in pairs(headers) do
    size = size + #name + #value
    if name == ":path" or name == ":method" then
      min_wire_bytes = min_wire_bytes + #value
    elseif name == "x-wire-connection" then
      min_wire_bytes = min_wire_bytes + #"connection" + #value + 3
    elseif not is_added_by_envoy(name) then
      min_wire_bytes = min_wire_bytes + #(name == ":authority" and "host" or name) + #value + 3
    end
  end
  if size > LIMITS.headers_bytes then
    return "headers"
  elseif is_http1 and (tonumber(headers:get("x-wire-bytes")) or math.huge) < min_wire_bytes + 14 then
    -- Envoy accepts lines that end without CR (RFC 9112, 2.2), which other servers may parse as part of a header. Each blank
    -- behind a colon hides one of them.
    return "lines"
  end
  return not is_canonical(path:match("^[^?]*")) and "path" or nil
end

-- Checks a request against its route. Returns the name of a reply, or nil when it fits.
local function check_route(headers, route)
  local kind = headers:get("content-type") or ""
  local is_grpc = kind:find("^application/grpc") ~= nil
  if route:get("native") ~= nil and route:get("native") ~= is_grpc then
    return is_grpc and "unknown" or "native"
  elseif not is_grpc and kind:lower():find("^multipart/") then
    return "multipart"
  end
  -- A few compressed bytes can expand to hundreds of megabytes.
  for _, name in ipairs({ "content-encoding", "grpc-encoding" }) do
    if (headers:get(name) or "identity"):lower() ~= "identity" then
      return "encoding"
    end
  end
  return nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local metadata = handle:streamInfo():dynamicMetadata()
  local kind = headers:get("content-type") or ""
  if kind:find("^application/grpc%-web") then
    metadata:set("moneyprinter", "web", kind)
  end
  local reply_name = check_request(headers, handle:streamInfo():protocol() == "HTTP/1.1")
  if reply_name ~= nil then
    refuse(handle, reply_name)
    return
  end

  -- The specification has paths under both /api/v1/ and /v1/, and progress URLs under /videos/.
  local path, verb = headers:get(":path"), headers:get(":method")
  local rest = path:match("^/api(/v1/.*)$")
  if rest == nil and path:match("^/videos%f[/?%z]") then
    rest = "/v1" .. path
  end
  if rest ~= nil then
    headers:replace(":path", rest)
  end
  -- A service answers HEAD as GET, and ends after the headers where it can.
  if verb == "HEAD" then
    headers:replace(":method", "GET")
    metadata:set("moneyprinter", "head", true)
  end
  handle:clearRouteCache()
  local route = handle:metadata()
  local allow = route:get("allow")
  if allow ~= nil or not route:get("served") then
    refuse(handle, allow == nil and "unknown" or "verb", allow)
    return
  end
  reply_name = check_route(headers, route)
  if reply_name ~= nil then
    refuse(handle, reply_name)
    return
  end

  local length = headers:get("content-length")
  drop_headers(headers, route:get("upload"))
  -- The transcoder drops content-length, which a full storage needs to refuse an upload.
  if length ~= nil and length:find("^%d+$") then
    headers:replace("x-upload-length", length)
  end
  if verb == "HEAD" then
    headers:replace("x-http-head", "1")
  end
  local bearer = parse_bearer_token(headers)
  if bearer ~= nil then
    headers:replace("authorization", "Bearer " .. bearer)
  elseif headers:get("authorization") ~= nil then
    if route:get("token") then
      -- So that the reply reports a malformed token, not a missing one.
      headers:replace("authorization", "Bearer malformed")
    else
      headers:remove("authorization")
    end
  end
  metadata:set("moneyprinter", "body_units", body_units(length, route))
  metadata:set("moneyprinter", "limited", route:get("limited") or false)
  metadata:set("moneyprinter", "trace_id", set_trace(headers))
end

-- Adds the position of each event as its id, which a browser sends when it reconnects. The transcoder writes whole events
-- with `position` first, where a message has one; in strings, quotation marks are escaped. An event without a position is
-- a keep-alive, which server-sent events write as a comment.
local function add_event_ids(handle)
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 then
      local text = chunk:getBytes(0, length)
      local with_ids, id_count = text:gsub('(data: {"position":"(%d+)")', "id: %2\n%1")
      local result, keep_alive_count = with_ids:gsub('data: {"position":""[^\n]*\n', ": keep-alive\n")
      if id_count + keep_alive_count > 0 then
        chunk:setBytes(result)
      end
    end
  end
end

-- Drops the body of a response, as for HEAD.
local function drop_body(handle)
  for chunk in handle:bodyChunks() do
    if chunk:length() > 0 then
      chunk:setBytes("")
    end
  end
end

-- Words for the types in the transcoder's messages.
local TYPES = { STRING = "text", BYTES = "text in base64", BOOL = "true or false", FLOAT = "a number", DOUBLE = "a number" }

-- Describes a value of a wrong type in the words of the contract, not of the transcoder.
local function describe_types(handle, headers)
  local length = tonumber(headers:get("content-length") or "")
  local body = length ~= nil and length <= MAX_REPLY_BYTES and handle:body() or nil
  local text = body and body:getBytes(0, body:length()) or ""
  local described, count = text:gsub("invalid value (.-) for type TYPE_(%u+)%d*", function(value, type)
    return ("%s is not %s"):format(value, TYPES[type] or "a whole number")
  end)
  if count > 0 then
    headers:replace("content-length", tostring(body:setBytes(described)))
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local kind = headers:get("content-type") or ""
  local request = handle:streamInfo():dynamicMetadata():get("moneyprinter") or {}
  -- gRPC has only the status 200, and its metadata stay unchanged.
  if kind:sub(1, 16) == "application/grpc" and headers:get(":status") == "200" then
    return
  elseif request.web then
    -- A reply of Envoy itself in the form of HTTP: the headers carry what gRPC-Web expects in trailers.
    headers:replace(":status", "200")
    headers:replace("content-type", request.web)
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
    -- A service that dies or stops ends its calls without retry-after.
    headers:add("retry-after", "1")
  end
  local method = handle:metadata()
  local is_declared = code ~= nil and (method:get("statuses") or {})[code] or false
  if headers:get(":status") ~= "200" then
    -- These headers describe the file, not the error.
    headers:remove("content-disposition")
    headers:remove("x-content-sha256")
    headers:remove("x-cache-control")
    headers:remove("etag")
    if is_declared and code >= "400" then
      headers:replace(":status", code)
    elseif headers:get(":status") == "400" and not request.head then
      describe_types(handle, headers)
    end
  else
    if is_declared then
      headers:replace(":status", code)
    end
    if method:get("events") then
      headers:replace("content-type", "text/event-stream")
      if not request.head then
        add_event_ids(handle)
      end
    elseif size ~= nil and kind ~= "application/json" then
      -- With the length of a download, a client can detect that it was cut.
      headers:replace("content-length", size)
    end
  end
  if request.head then
    drop_body(handle)
  end
end
