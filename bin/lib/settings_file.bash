# settings.sh: assignments of settings, comments and blank lines, in bash's own notation. It is read here statement by
# statement and not sourced: bash would run a line that is anything else, or fail at it and go on with the next.
# shellcheck shell=bash

# What a value may hold beside plain text: $NAME, ${NAME}, ${NAME:-text}, and the one command that lists sizes.
_REFERENCE='\$([A-Z_][A-Z0-9_]*|\{[A-Z_][A-Z0-9_]*(:?-[^]["'\''$`\\{}]*)?\}|\(seq( +-?[0-9]{1,6}){1,3} *\))'
_QUOTED="'[^']*'"'|"([^"\\$`]|\\.|'$_REFERENCE')*"|\$'"'([^'\\\\]|\\\\.)*'"
_OUTSIDE='[^A-Za-z0-9]' # what a backslash may hide; before a letter it stands in a Windows path, and bash drops it
_WORD_PIECE='^([^[:space:];&|<>()'\''"`$\\]+|'"$_QUOTED|\\\\$_OUTSIDE|$_REFERENCE)"
# In a list bash also replaces patterns and braces; of these only a range of sizes is wanted.
_LIST_PIECE='^([^][:space:];&|<>()'\''"`$\\*?{}[]+|\{[0-9]{1,6}(\.\.[0-9]{1,6}){1,2}\}|'"$_QUOTED|\\\\$_OUTSIDE|$_REFERENCE)"
_ASSIGNMENT=$'^((export|declare|typeset)([ \t]+-[agx]+)*[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)='
_UTF_8=$'^([\x01-\x7f]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})*$'

# read_settings_file FILE: its values into the map from_file, which is load_settings's, as are from_flag and from_env.
# shellcheck disable=SC2034 # from_file
read_settings_file() {
  local LC_ALL=C _file=$1 _text='' _rest _name _after='' _from _word _value _values
  [[ -f $_file ]] || die "$_file: no such settings file"
  [[ -r $_file ]] || die "$_file: cannot be read; check its owner and mode (ls -l)"
  ! IFS= read -r -d '' _text <"$_file" || die "$(short "$_file") is not UTF-8 text (UTF-16?); save it as UTF-8"
  # Of an editor on Windows: a byte order mark, and other line ends.
  _text=${_text#$'\xef\xbb\xbf'}
  _text=${_text//$'\r\n'/$'\n'}
  _text=${_text//$'\r'/$'\n'}$'\n'
  # A value may refer to another setting: to the value that wins.
  for _name in "${!from_env[@]}"; do printf -v "$_name" '%s' "${from_env[$_name]}"; done
  for _name in "${!from_flag[@]}"; do printf -v "$_name" '%s' "${from_flag[$_name]}"; done
  _rest=$_text
  while [[ -n $_rest ]]; do
    case $_rest in
    [$' \t']*) _rest=${_rest:1} ;;
    [$'\n;']*) _rest=${_rest:1} _after='' ;;
    \#*) _rest=$'\n'${_rest#*$'\n'} ;;
    \\$'\n'*) _rest=${_rest:2} ;;
    *)
      [[ $_rest =~ $_ASSIGNMENT ]] || _refuse_statement
      _name=${BASH_REMATCH[4]}
      [[ -v SETTING_TYPE[$_name] ]] || _refuse_name
      _after=$_name _rest=${_rest:${#BASH_REMATCH[0]}} _from=$_rest
      _take_value
      # shellcheck disable=SC2004 # an associative array of load_settings
      from_file[$_name]=$_value
      [[ -v from_flag[$_name] || -v from_env[$_name] ]] || printf -v "$_name" '%s' "$_value"
      ;;
    esac
  done
  unset -v "${SETTING_NAMES[@]}"
}

# _take_value: move the value that _rest begins with to _value.
_take_value() {
  local _type=${SETTING_TYPE[$_name]}
  if [[ $_rest != \(* ]]; then
    _take_word "$_WORD_PIECE"
    [[ $_rest == [$' \t\n;']* ]] || _refuse_character
    [[ $_word =~ $_UTF_8 ]] || _refuse "$_name is not UTF-8 text; save the file as UTF-8"
    eval "_value=$_word" || _refuse "no value for $_name comes of $_word"
    return
  fi
  [[ $_type == @(numbers|methods:*|words) ]] ||
    _refuse "$_name takes one value, not a list; write $_name=value, with quotes around a value that holds spaces"
  local _list='' _open=$_rest
  _rest=${_rest:1}
  while [[ $_rest != \)* ]]; do
    case $_rest in
    '')
      _rest=$_open
      _refuse "$_name=( is not closed by a )"
      ;;
    [$' \t\n']*) _rest=${_rest:1} ;;
    \#*) _rest=$'\n'${_rest#*$'\n'} ;;
    \\$'\n'*) _rest=${_rest:2} ;;
    *)
      if [[ $_rest =~ $_ASSIGNMENT && -v SETTING_TYPE[${BASH_REMATCH[4]}] ]]; then
        _rest=$_open
        _refuse "$_name=( is not closed by a ) before ${BASH_REMATCH[4]}="
      fi
      _take_word "$_LIST_PIECE"
      [[ $_rest == [$' \t\n)']* || -z $_rest ]] || _refuse_character
      _list+=" $_word"
      ;;
    esac
  done
  _rest=${_rest:1}
  [[ $_rest == [$' \t\n;']* ]] || _refuse_character
  eval "_values=($_list)" || _refuse "no value for $_name comes of ($_list )"
  if [[ $_type == words ]]; then _value=$(quoted_words "${_values[@]}"); else _value=${_values[*]-}; fi
}

# _take_word PIECES: move the word that _rest begins with to _word, as it is written there.
# shellcheck disable=SC1110 # these quotes are meant
_take_word() {
  local _piece _in
  [[ $_rest != @(“|”|‘|’|（|「|＂|＇)* ]] || _refuse_wide
  _word=''
  while [[ $_rest =~ $1 ]]; do
    _piece=${BASH_REMATCH[0]}
    case $_piece in
    [\'\"]*)
      [[ $_word != *[\{[]* || $_word != *[\{[:,] ]] ||
        _refuse "bash drops the quotes inside of JSON; put single quotes around all of it: '[\"a\", \"b\"]'"
      if [[ $_piece =~ $'\n'[[:blank:]]*([A-Z0-9_]+)= && -v SETTING_TYPE[${BASH_REMATCH[1]}] ]]; then
        _refuse "the quote that begins here takes in the line of ${BASH_REMATCH[1]}=; it lacks its end"
      fi
      ;;
    *) # no-break, full-width and zero-width spaces
      [[ $_piece != *$'\xc2\xa0'* && $_piece != *$'\xe3\x80\x80'* && $_piece != *$'\xe2\x80'[$'\x8b'-$'\x8f']* &&
        $_piece != *$'\xef\xbb\xbf'* ]] || _refuse_wide
      ;;
    esac
    if [[ $_piece != \'* && $_piece != "\$'"* ]]; then
      _in=${_piece//\\?/}
      while [[ $_in =~ \$\{?([A-Z_][A-Z0-9_]*)([:-]?) ]]; do
        [[ -n ${BASH_REMATCH[2]} ]] || _is_given "${BASH_REMATCH[1]}" ||
          _refuse "${BASH_REMATCH[0]} is not set, neither above nor in the environment"
        _in=${_in#*"${BASH_REMATCH[0]}"}
      done
    fi
    _word+=$_piece _rest=${_rest:${#_piece}}
  done
}

# _is_given NAME: a variable of the environment or a setting, not one of ours.
_is_given() { [[ -n ${!1+x} ]] && [[ ${!1@a} == *x* || -v SETTING_TYPE[$1] || $1 == HOSTNAME || $1 == UID ]]; }

# _refuse WHY: end, with the line that _rest begins in.
_refuse() {
  local _before=${_text:0:${#_text}-${#_rest}}
  _before=${_before//[!$'\n']/}
  die "$(short "$_file"), line $((${#_before} + 1)): $1"
}

_refuse_name() {
  local meant
  meant=$(nearest "$_name" "${SETTING_NAMES[@]}")
  [[ -z $meant ]] || _refuse "unknown setting $_name; did you mean $meant? all are listed by bin/sweep.sh --help"
  _refuse "unknown setting $_name; the settings are listed by bin/sweep.sh --help, what is none of them is set in the environment"
}

# _refuse_wide: the line holds what looks like ASCII and is not.
_refuse_wide() {
  local _before=${_text:0:${#_text}-${#_rest}} _line
  _line=${_before##*$'\n'}${_rest%%$'\n'*}
  narrow "$_line"
  _refuse "a full-width, typographic or invisible character; in plain ones: $NARROWED"
}

_refuse_character() {
  local _hint="put the value in single quotes: $_name='...'"
  case $_rest in
  [\'\"]*)
    [[ $_rest =~ ^\"([^\"\\]|\\.)*\" ]] || _refuse "a quote without its end"
    [[ ${BASH_REMATCH[0]} != *['`']* && ${BASH_REMATCH[0]} != *'$('* ]] || _refuse "no command is run here; give the value itself, or $_hint"
    _refuse "a \$ that is not of \$NAME or \${NAME}; to keep it, $_hint"
    ;;
  \`* | \$\(*) _refuse "no command is run here; give the value itself, or set $_name in the environment" ;;
  \$*) _refuse "a \$ that is not of \$NAME or \${NAME}; to keep it, $_hint" ;;
  \\*) _refuse "a backslash that bash would drop; in a path write /, else $_hint" ;;
  [$' \t\n']*) _refuse_statement ;;
  *) _refuse "'${_rest:0:1}' outside of quotes; $_hint" ;;
  esac
}

# _refuse_statement: what is here is no assignment.
_refuse_statement() {
  local _line=${_rest%%$'\n'*}
  [[ -z $_after ]] || _refuse_spaces 'a value with spaces needs quotes'
  narrow "$_line"
  [[ ! ${NARROWED#"${NARROWED%%[![:blank:]]*}"} =~ $_ASSIGNMENT ]] || _refuse_wide
  if [[ $_line =~ ^((export|declare)[[:blank:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:blank:]]*(\+=|:?=|:)(.*) ]]; then
    _after=${BASH_REMATCH[3]} _name=$_after _from=${BASH_REMATCH[5]}
    [[ -v SETTING_TYPE[$_name] ]] || _refuse_name
    [[ ${BASH_REMATCH[4]} != += ]] || _refuse "+= adds to nothing here; write the whole value: $_name=..."
    _refuse_spaces 'an assignment is NAME=value without spaces'
  fi
  _line=${_line%%[[:blank:]]*}
  _refuse "'${_line:0:60}' is no assignment; only settings stand here, one a line: SIZES=(100 500)"
}

# _refuse_spaces WHY: of the setting _after all that follows on its line, _from, is the value, as a rule.
_refuse_spaces() {
  local _line=${_from%%$'\n'*} _why=$1
  [[ $_line != [[:blank:]]* ]] || _why='an assignment is NAME=value without spaces'
  _line=${_line%%[[:blank:]]#*}
  [[ $_line =~ ^[[:blank:]]*(.*[^[:blank:]])? ]]
  _line=${BASH_REMATCH[1]}
  if [[ $_after == SIZES ]]; then
    read -r -a _values <<<"${_line//[][(),\"\']/ }"
    _line="(${_values[*]})"
  elif [[ ${SETTING_TYPE[$_after]} == words || $_after == ON_FINISH || $_line == *[\'\"\`\$\\\(]* ]]; then
    _line="'...'" # what may hold a secret is not repeated
  elif [[ $_line == *[[:blank:]]* ]]; then
    case ${SETTING_TYPE[$_after]} in
    text | word | path | model) _line="'$_line'" ;;
    *) _line=... _why='only one value fits here' ;;
    esac
  fi
  _refuse "$_why; write $_after=$_line"
}
