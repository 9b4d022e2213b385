# Text as it is searched: digits of other alphabets, spaces, dashes, escapes and hexadecimal bytes undone.

cdef inline int hex_digit(unsigned char c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    if 65 <= c <= 70:
        return c - 55
    return -1


cdef bint is_ascii(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef uint64_t word, seen = 0
    while at + 8 <= size:
        memcpy(&word, data + at, 8)
        seen |= word
        at += 8
    if seen & <uint64_t>0x8080808080808080:
        return False
    while at < size:
        if data[at] >= 0x80:
            return False
        at += 1
    return True


cdef int folded(const unsigned char* cell, Py_ssize_t left, int* value) noexcept nogil:
    """Length of the UTF-8 sequence that reads as `value` (-1: nothing); 0 where it stands for itself."""
    cdef int b = cell[0], c = 0, d = 0
    if left > 1:
        c = cell[1]
    if b == 0xC2:
        if c == 0xA0:
            value[0] = 0x20
            return 2
        if c == 0xAD:
            value[0] = -1
            return 2
    elif b == 0xCD and c == 0x8F:
        value[0] = -1
        return 2
    elif b == 0xD9 and 0xA0 <= c <= 0xA9:
        value[0] = c - 0xA0 + 48
        return 2
    elif b == 0xDB and 0xB0 <= c <= 0xB9:
        value[0] = c - 0xB0 + 48
        return 2
    if left < 3:
        return 0
    d = cell[2]
    if b == 0xE2:
        if c == 0x80:
            if 0x80 <= d <= 0x8A or d == 0xAF:
                value[0] = 0x20
                return 3
            if 0x8B <= d <= 0x8F or 0xAA <= d <= 0xAE:
                value[0] = -1
                return 3
            if 0x90 <= d <= 0x95:
                value[0] = 0x2D
                return 3
        elif c == 0x81:
            if d == 0x9F:
                value[0] = 0x20
                return 3
            if 0xA0 <= d <= 0xAF:
                value[0] = -1
                return 3
        elif c == 0x88 and d == 0x92:
            value[0] = 0x2D
            return 3
    elif b == 0xE1 and c == 0xA0 and d == 0x8E:
        value[0] = -1
        return 3
    elif b == 0xE3 and c == 0x80 and d == 0x80:
        value[0] = 0x20
        return 3
    elif b == 0xEF:
        if c == 0xBB and d == 0xBF:
            value[0] = -1
            return 3
        if c == 0xBC and 0x81 <= d <= 0xBF:
            value[0] = d - 0x81 + 0x21
            return 3
        if c == 0xBD and 0x80 <= d <= 0x9E:
            value[0] = d - 0x80 + 0x60
            return 3
        if c == 0xB8 and 0x80 <= d <= 0x8F:
            value[0] = -1
            return 3
        if c == 0xB9 and d == 0xA3:
            value[0] = 0x2D
            return 3
        if c == 0xB9 and d == 0xAB:
            value[0] = 0x40
            return 3
    elif b == 0xF0 and left > 3 and c == 0x9D and d == 0x9F and 0x8E <= cell[3] <= 0xBF:
        value[0] = (cell[3] - 0x8E) % 10 + 48
        return 4
    return 0


cdef int code_point(const unsigned char* cell, Py_ssize_t left) noexcept nogil:
    cdef int value = 0, digit, index
    if left < 4:
        return -1
    for index in range(4):
        digit = hex_digit(cell[index])
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value


cdef int put_code(Output* out, Places* places, int code, Py_ssize_t at) except -1:
    cdef unsigned char sequence[3]
    cdef int length, value = 0, index
    if code < 0x80:
        return put(out, places, code if code else 0x20, at)
    if 0xD800 <= code <= 0xDFFF:
        return put(out, places, 0x3F, at)
    if code < 0x800:
        sequence[0] = 0xC0 | (code >> 6)
        sequence[1] = 0x80 | (code & 0x3F)
        length = 2
    else:
        sequence[0] = 0xE0 | (code >> 12)
        sequence[1] = 0x80 | ((code >> 6) & 0x3F)
        sequence[2] = 0x80 | (code & 0x3F)
        length = 3
    if folded(sequence, length, &value):
        if value >= 0:
            put(out, places, value, at)
        return 0
    for index in range(length):
        put(out, places, sequence[index], at)
    return 0


cdef int fold(Output* out, Places* places, const unsigned char* cell, Py_ssize_t total, bint escapes,
              Py_ssize_t start) except -1:
    """Appends the view without its end; `start` is added to the places."""
    cdef Py_ssize_t at = 0, end
    cdef int length, value = 0, code
    cdef unsigned char byte, follower
    reserve(out, total + 8)
    while at < total:
        byte = cell[at]
        if byte == 0x5C and escapes:
            end = at
            while end < total and cell[end] == 0x5C:
                end += 1
            follower = cell[end] if end < total else 0
            code = code_point(cell + end + 1, total - end - 1) if follower == 0x75 else -1
            if code >= 0:
                put_code(out, places, code, at + start)
                at = end + 5
            elif follower == 110 or follower == 116 or follower == 114 or follower == 98 or follower == 102 \
                    or follower == 118:
                put(out, places, 0x20, at + start)
                at = end + 1
            elif follower == 0x22 or follower == 0x2F or follower == 0x27:
                put(out, places, follower, at + start)
                at = end + 1
            else:
                put(out, places, 0x5C, at + start)
                at = end
            continue
        length = 0
        if byte >= 0x80:
            length = folded(cell + at, total - at, &value)
        if length:
            if value >= 0:
                put(out, places, value, at + start)
            at += length
        else:
            put(out, places, byte, at + start)
            at += 1
    if places.wanted:
        place(places, total + start)
    return 0


cdef int hex_runs(Output* out, Places* places, const unsigned char* cell, Py_ssize_t total) except -1:
    cdef Py_ssize_t at = 0
    cdef int high, low
    reserve(out, total + 8)
    while at + 1 < total:
        if cell[at] != 0x5C or cell[at + 1] != 0x78:
            at += 1
            continue
        at += 2
        while at + 1 < total:
            high = hex_digit(cell[at])
            low = hex_digit(cell[at + 1])
            if high < 0 or low < 0:
                break
            put(out, places, high * 16 + low, at)
            at += 2
        put(out, places, 0x0A, at)
    if places.wanted:
        place(places, total)
    return 0
