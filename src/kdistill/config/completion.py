"""TAB for `kdistill <command> ...`: what the start file of a shell evaluates, for bash, zsh and fish.

The words of a command are those that Hydra's completion of that command gives; the names of the commands come first.
"""

from collections.abc import Iterable

_BASH = """_kdistill() {
  local word="${COMP_WORDS[COMP_CWORD]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "<commands>" -- "$word"))
    [ "${#COMPREPLY[@]}" -eq 1 ] && COMPREPLY[0]+=" "
    return 0
  fi
  words=$(COMP_LINE="kdistill-${COMP_LINE#* }" kdistill "${COMP_WORDS[1]}" -sc query=bash 2>/dev/null)
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _kdistill kdistill
"""
_FISH = """function __kdistill
    set -l parts (commandline -cpo)
    if test (count $parts) -lt 2
        printf '%s\\n' <commands>
        return
    end
    set -l line kdistill-(string replace -r '^\\S+\\s+' '' -- (commandline -cp))
    COMP_LINE="$line" kdistill $parts[2] -sc query=fish 2>/dev/null
end
complete -c kdistill -x -a '(__kdistill)'
"""
SHELLS = {"bash": _BASH, "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}", "fish": _FISH}


def completion(shell: str, commands: Iterable[str]) -> str:
    """The script of a shell: bash, zsh or fish.

    Args:
        shell: one of `SHELLS`.
        commands: the names of the commands.
    """
    return SHELLS[shell].replace("<commands>", " ".join(commands))
