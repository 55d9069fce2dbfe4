-- Wireshark dissector of Lunar's accelerated path (docs/xdp-protocol.md).
--
--   tshark -X lua_script:transports/xdp/wireshark/lunar.lua -r capture.pcap -Y lunar
--
-- or put it into the folder that Help > About > Folders names for personal Lua plugins. Datagrams are known by their
-- first four bytes, whatever their port is.

local lunar = Proto("lunar", "Lunar accelerated path")

local kinds = {
    [0x01] = "DATA", [0x02] = "START", [0x03] = "POLL", [0x04] = "TALLY", [0x05] = "CLOSE", [0x06] = "LEAVE HEARD",
    [0x07] = "CALL", [0x81] = "OPEN", [0x82] = "ACK", [0x85] = "LEAVE", [0x86] = "CLOSE HEARD",
}
local reasons = { [0] = "closed", [1] = "rules broken" }

local HEADER, RECORD, ACK, RANGE = 4, 12, 40, 8

local f = {}
local function field(name, make, ...)
    f[name] = make("lunar." .. name, ...)
end

field("version", ProtoField.uint8, "Version")
field("flags", ProtoField.uint8, "Flags", base.HEX)
field("kind", ProtoField.uint8, "Kind", base.HEX, kinds)
field("epoch_low", ProtoField.uint8, "Epoch, low byte")
field("length", ProtoField.uint16, "Length")
field("token", ProtoField.uint64, "Token", base.HEX)
field("pn", ProtoField.uint32, "Part number")
field("part", ProtoField.uint32, "Part")
field("size", ProtoField.uint32, "Message size")
field("dropped", ProtoField.uint32, "Dropped before")
field("sequence", ProtoField.uint64, "Sequence number")
field("source_time", ProtoField.uint64, "Source time (ns)")
field("payload", ProtoField.bytes, "Payload")
field("epoch", ProtoField.uint32, "Epoch")
field("life", ProtoField.uint32, "Life")
field("origin", ProtoField.uint32, "Origin")
field("last_sequence", ProtoField.uint64, "Last sequence number")
field("newest_sequence", ProtoField.uint64, "Newest sequence number")
field("part_size", ProtoField.uint32, "Part size")
field("end_pn", ProtoField.uint32, "End")
field("reason", ProtoField.uint32, "Reason", base.DEC, reasons)
field("window", ProtoField.uint32, "Window")
field("largest_datagram", ProtoField.uint32, "Largest datagram")
field("largest_message", ProtoField.uint32, "Largest message")
field("next_pn", ProtoField.uint32, "Next")
field("taken_pn", ProtoField.uint32, "Taken")
field("limit_pn", ProtoField.uint32, "Limit")
field("delay", ProtoField.uint32, "Delay (us)")
field("lost", ProtoField.uint64, "Lost")
field("missing_from", ProtoField.uint32, "Missing from")
field("missing_count", ProtoField.uint32, "Missing parts")
lunar.fields = f

local broken = ProtoExpert.new("lunar.broken", "Not a record", expert.group.MALFORMED, expert.severity.ERROR)
local odd = ProtoExpert.new("lunar.odd", "Not of the length of its kind", expert.group.MALFORMED, expert.severity.WARN)
local strange = ProtoExpert.new("lunar.strange", "Kind not known", expert.group.UNDECODED, expert.severity.NOTE)
lunar.experts = { broken, odd, strange }

-- What stands behind the head of a record of each kind, in order: name and bytes.
local layouts = {
    [0x01] = { { "pn", 4 }, { "part", 4 }, { "size", 4 }, { "dropped", 4 }, { "sequence", 8 }, { "source_time", 8 } },
    [0x02] = { { "epoch", 4 }, { "life", 4 }, { "origin", 4 }, { "pn", 4 }, { "last_sequence", 8 },
               { "newest_sequence", 8 }, { "dropped", 4 }, { "part_size", 4 } },
    [0x03] = { { "end_pn", 4 } },
    [0x04] = { { "last_sequence", 8 }, { "dropped", 4 }, { "end_pn", 4 } },
    [0x05] = { { "origin", 4 }, { "reason", 4 } },
    [0x06] = { { "life", 4 } },
    [0x07] = { { "origin", 4 } },
    [0x81] = { { "life", 4 }, { "window", 4 }, { "largest_datagram", 4 }, { "largest_message", 4 } },
    [0x82] = { { "epoch", 4 }, { "next_pn", 4 }, { "taken_pn", 4 }, { "limit_pn", 4 }, { "delay", 4 }, { "lost", 8 } },
    [0x85] = { { "life", 4 }, { "reason", 4 } },
    [0x86] = { { "origin", 4 } },
}

local function fixed_size(layout)
    local size = RECORD
    for _, entry in ipairs(layout) do
        size = size + entry[2]
    end
    return size
end

-- DATA goes on with its payload, ACK with ranges; the others end here.
local function add_rest(kind, record, from, tree)
    local rest = record:len() - from
    if rest == 0 then
        return true
    elseif kind == 0x01 then
        tree:add(f.payload, record:range(from))
        return true
    elseif kind == 0x82 and rest % RANGE == 0 then
        for at = from, record:len() - RANGE, RANGE do
            tree:add_le(f.missing_from, record:range(at, 4))
            tree:add_le(f.missing_count, record:range(at + 4, 4))
        end
        return true
    end
    return false
end

local function summary(kind, record)
    if kind == 0x01 and record:len() >= 44 then
        return string.format("DATA %u (message %s)", record:range(12, 4):le_uint(),
            tostring(record:range(28, 8):le_uint64()))
    elseif kind == 0x82 and record:len() >= ACK then
        return string.format("ACK %u", record:range(16, 4):le_uint())
    end
    return kinds[kind] or string.format("kind 0x%02x", kind)
end

local function add_record(record, tree)
    local kind = record:range(0, 1):uint()
    local branch = tree:add(lunar, record, summary(kind, record))
    branch:add(f.kind, record:range(0, 1))
    branch:add(f.epoch_low, record:range(1, 1))
    branch:add_le(f.length, record:range(2, 2))
    branch:add_le(f.token, record:range(4, 8))
    local layout = layouts[kind]
    if not layout then
        branch:add_proto_expert_info(strange)
        return kind
    end
    if record:len() < fixed_size(layout) then
        branch:add_proto_expert_info(odd)
        return kind
    end
    local at = RECORD
    for _, entry in ipairs(layout) do
        branch:add_le(f[entry[1]], record:range(at, entry[2]))
        at = at + entry[2]
    end
    if not add_rest(kind, record, at, branch) then
        branch:add_proto_expert_info(odd)
    end
    return kind
end

local function is_ours(buffer)
    return buffer:len() >= HEADER and buffer:range(0, 4):uint() == 0x4c580100
end

function lunar.dissector(buffer, pinfo, tree)
    if not is_ours(buffer) then
        return 0
    end
    pinfo.cols.protocol = "Lunar"
    local root = tree:add(lunar, buffer())
    root:add(f.version, buffer:range(2, 1))
    root:add(f.flags, buffer:range(3, 1))
    local names, counts, at = {}, {}, HEADER
    while at < buffer:len() do
        local left = buffer:len() - at
        local length = left >= RECORD and buffer:range(at + 2, 2):le_uint() or 0
        if length < RECORD or length > left then
            root:add_proto_expert_info(broken)
            break
        end
        local kind = add_record(buffer:range(at, length), root)
        local name = kinds[kind] or "?"
        if not counts[name] then
            names[#names + 1] = name
        end
        counts[name] = (counts[name] or 0) + 1
        at = at + length
    end
    for i, name in ipairs(names) do
        names[i] = counts[name] > 1 and string.format("%u %s", counts[name], name) or name
    end
    pinfo.cols.info = table.concat(names, ", ")
    return buffer:len()
end

lunar:register_heuristic("udp", function(buffer, pinfo, tree)
    if not is_ours(buffer) then
        return false
    end
    lunar.dissector(buffer, pinfo, tree)
    return true
end)
